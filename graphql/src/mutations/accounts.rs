//! Users, groups and keys.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use deployer::{
    accounts::{groups, users},
    keys,
};

use super::payload;
use crate::{
    error::{Refusal, Result, settle},
    scalars::DateTime,
    session::Asked,
    types::accounts::{ApiKey, Group, User},
};

payload!(
    /// The answer of `createUser` and `updateUser`.
    UserPayload {
        /// The user; null if refused.
        user: User
    }
);
payload!(
    /// The answer of `createGroup` and `describeGroup`.
    GroupPayload {
        /// The group; null if refused.
        group: Group
    }
);
payload!(
    /// The answer of `revokeApiKey`.
    RevokeApiKeyPayload {
        /// The dead key; null if refused.
        key: ApiKey
    }
);

/// The answer of `createApiKey`.
#[derive(SimpleObject)]
pub(crate) struct CreateApiKeyPayload {
    /// The key without its secret part; null if refused.
    key: Option<ApiKey>,
    /// The whole key: shown now, and never again. Only its hash is kept.
    secret: Option<String>,
    /// Why nothing was done; empty if it was.
    refusals: Vec<Refusal>,
}

/// The answer of `deleteUser`.
#[derive(SimpleObject)]
pub(crate) struct DeleteUserPayload {
    /// The login that is gone; null if refused.
    deleted_login: Option<String>,
    /// Why nothing was done; empty if it was.
    refusals: Vec<Refusal>,
}

/// The answer of `deleteGroup`.
#[derive(SimpleObject)]
pub(crate) struct DeleteGroupPayload {
    /// The name that is gone; null if refused.
    deleted_name: Option<String>,
    /// Why nothing was done; empty if it was.
    refusals: Vec<Refusal>,
}

/// A user to be made.
#[derive(InputObject)]
pub(crate) struct CreateUserInput {
    /// Unique, for good.
    login: String,
    /// What people read; the login if not given.
    display_name: Option<String>,
    /// Groups that there are.
    #[graphql(default)]
    groups: Vec<String>,
}

/// A change of a user. What is not given is left as it is.
#[derive(InputObject)]
pub(crate) struct UpdateUserInput {
    /// Which.
    login: String,
    /// What people read.
    display_name: Option<String>,
    /// A disabled user's keys are dead at once, and live again when it is enabled.
    enabled: Option<bool>,
    /// Exactly these groups.
    groups: Option<Vec<String>>,
}

#[derive(Default)]
pub(super) struct Accounts;

#[Object]
impl Accounts {
    /// Makes a user, enabled and without keys. Global administrators alone.
    async fn create_user(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The user.")] input: CreateUserInput,
    ) -> Result<UserPayload> {
        let session = ctx.session()?;
        let CreateUserInput { login, display_name, groups } = input;
        let new = users::NewUser { login, display_name, groups: groups.into_iter().collect(), email: None };
        UserPayload::of(users::create(&session.deployer, &session.viewer(), new).await)
    }

    /// Changes a user. Global administrators alone.
    async fn update_user(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The change.")] input: UpdateUserInput,
    ) -> Result<UserPayload> {
        let session = ctx.session()?;
        let UpdateUserInput { login, display_name, enabled, groups } = input;
        let patch =
            users::UserPatch { display_name, enabled, groups: groups.map(|groups| groups.into_iter().collect()), email: None };
        UserPayload::of(users::update(&session.deployer, &session.viewer(), &login, patch).await)
    }

    /// Deletes a user with its keys. Refused while it owns published projects or runs an infrastructure's hooks. Global administrators alone.
    async fn delete_user(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The login.")] login: String,
    ) -> Result<DeleteUserPayload> {
        let session = ctx.session()?;
        let answer = users::delete(&session.deployer, &session.viewer(), &login).await.map(|()| login);
        let (deleted_login, refusals) = settle(answer)?;
        Ok(DeleteUserPayload { deleted_login, refusals })
    }

    /// Makes a group. Global administrators alone.
    async fn create_group(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Unique.")] name: String,
        #[graphql(default, desc = "What it is for.")] description: String,
    ) -> Result<GroupPayload> {
        let session = ctx.session()?;
        GroupPayload::of(groups::create(&session.deployer, &session.viewer(), &name, &description).await)
    }

    /// Describes a group. Global administrators alone.
    async fn describe_group(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which group.")] name: String,
        #[graphql(desc = "What it is for.")] description: String,
    ) -> Result<GroupPayload> {
        let session = ctx.session()?;
        GroupPayload::of(groups::describe(&session.deployer, &session.viewer(), &name, &description).await)
    }

    /// Deletes a group, its memberships and all rights given to it. Global administrators alone.
    async fn delete_group(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which group.")] name: String,
    ) -> Result<DeleteGroupPayload> {
        let session = ctx.session()?;
        let answer = groups::delete(&session.deployer, &session.viewer(), &name).await.map(|()| name);
        let (deleted_name, refusals) = settle(answer)?;
        Ok(DeleteGroupPayload { deleted_name, refusals })
    }

    /// Makes an API key. Its secret part is answered once. Somebody else's: global administrators alone.
    async fn create_api_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to call it, such as the name of the CI system.")] label: String,
        #[graphql(desc = "Whom it acts as; you if not given.")] login: Option<String>,
        #[graphql(desc = "When it expires; never if not given.")] expires_at: Option<DateTime>,
    ) -> Result<CreateApiKeyPayload> {
        let session = ctx.session()?;
        let new = keys::NewKey { login, label, expires_at: expires_at.map(|at| at.0), ..Default::default() };
        let answer = keys::create(&session.deployer, &session.viewer(), new).await;
        let (made, refusals) = settle::<_, (keys::Key, engine::secrets::ApiKey)>(answer)?;
        let (key, secret) = made.map(|(key, secret)| (key.into(), secret.expose().to_owned())).unzip();
        Ok(CreateApiKeyPayload { key, secret, refusals })
    }

    /// Revokes an API key, at once and for good; subscriptions that it opened end. Your own, or any as a global administrator.
    async fn revoke_api_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The key's id.")] id: ID,
    ) -> Result<RevokeApiKeyPayload> {
        let session = ctx.session()?;
        RevokeApiKeyPayload::of(keys::revoke(&session.deployer, &session.viewer(), &id).await)
    }
}
