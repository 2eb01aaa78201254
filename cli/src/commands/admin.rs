//! `slipway admin`: straight on the database.

use deployer::{
    accounts::users::AccountKind,
    bootstrap::{self, Operator},
};

use super::say;
use crate::{
    args::{Admin, AdminGroup, AdminKey, AdminUser},
    config::Config,
    failure::Failure,
    parts,
};

pub(crate) async fn run(command: Admin, config: &Config) -> Result<(), Failure> {
    let db = parts::migrated(config).await?;
    // Whoever administers at the database may have no master key: what they do is recorded all the same, unsigned.
    let keyring = parts::keyring(config).ok();
    let operator = Operator::at_the_database().signing(keyring.as_ref());
    match command {
        Admin::User(AdminUser::Create { login, display_name, groups, technical }) => {
            let kind = if technical { AccountKind::Technical } else { AccountKind::Personal };
            let groups = groups.into_iter().collect();
            bootstrap::create_user(&db, operator, &login, display_name.as_deref(), &groups, kind).await?;
            say(format!("Made user {login}."))?;
        }
        Admin::User(AdminUser::Enable { login }) => {
            bootstrap::set_user_enabled(&db, operator, &login, true).await?;
            say(format!("Enabled {login}."))?;
        }
        Admin::User(AdminUser::Disable { login }) => {
            bootstrap::set_user_enabled(&db, operator, &login, false).await?;
            say(format!("Disabled {login}; its keys are dead."))?;
        }
        Admin::User(AdminUser::Delete { login }) => {
            bootstrap::delete_user(&db, operator, &login).await?;
            say(format!("Deleted {login} and its keys."))?;
        }
        Admin::Key(AdminKey::Create { user, label }) => {
            let (_, key) = bootstrap::create_key(&db, operator, &user, &label, None).await?;
            // Alone on its line, so that a script can take it.
            say(key.expose())?;
        }
        Admin::Group(AdminGroup::Create { name, description }) => {
            bootstrap::create_group(&db, operator, &name, &description).await?;
            say(format!("Made group {name}."))?;
        }
        Admin::Group(AdminGroup::Delete { name }) => {
            bootstrap::delete_group(&db, operator, &name).await?;
            say(format!("Deleted group {name}."))?;
        }
        Admin::Group(AdminGroup::Add { group, login }) => {
            bootstrap::add_to_group(&db, operator, &login, &group).await?;
            say(format!("{login} is in {group}."))?;
        }
        Admin::Group(AdminGroup::Remove { group, login }) => {
            bootstrap::remove_from_group(&db, operator, &login, &group).await?;
            say(format!("{login} is not in {group}."))?;
        }
    }
    Ok(())
}
