//! What can be changed. Each mutation is one call of the deployer, which asks for the rights.

mod accounts;
mod deployments;
mod fleet;
mod infrastructures;
mod live;
mod places;
mod projects;
mod services;
mod updates;

use async_graphql::MergedObject;

/// What can be changed. What you can mend is answered as `refusals` of the payload, each with a code and the field; then nothing was changed.
#[derive(MergedObject, Default)]
pub struct Mutation(
    infrastructures::Infrastructures,
    fleet::Fleet,
    places::Places,
    projects::Projects,
    deployments::Deployments,
    updates::Updates,
    live::LiveDeployments,
    accounts::Accounts,
    services::Services,
);

/// Makes the payload of a mutation: an object, or refusals.
macro_rules! payload {
    ($(#[$doc:meta])* $name:ident { $(#[$field_doc:meta])* $field:ident: $type:ty }) => {
        $(#[$doc])*
        #[derive(async_graphql::SimpleObject)]
        pub(crate) struct $name {
            $(#[$field_doc])*
            $field: Option<$type>,
            /// Why nothing was done; empty if it was.
            refusals: Vec<crate::error::Refusal>,
        }

        impl $name {
            pub(crate) fn of<T>(answer: deployer::error::Result<T>) -> crate::error::Result<Self>
            where
                $type: From<T>,
            {
                let ($field, refusals) = crate::error::settle(answer)?;
                Ok(Self { $field, refusals })
            }
        }
    };
}
use payload;
