//! The image of a version, in the account's registry. The only file here that knows how images are made.

use engine::failure::{Failure, StepError};

use super::session::Session;
use crate::{aws::Repository, codes, spec::ServiceVersionSpec};

/// Makes sure that the version's image is in the repository. Its reference, by digest.
pub(super) async fn ensure(
    session: &Session<'_>,
    repository: &Repository,
    version: &ServiceVersionSpec,
) -> Result<String, StepError> {
    let tag = session.image_tag(version);
    match session.account.image_digest(session.settings.repository(), &tag).await? {
        Some(digest) => Ok(format!("{}@{}", repository.uri, session.clean(&digest))),
        None => {
            let message = format!("The image {}:{tag} is not in the repository.", repository.uri);
            Err(Failure::new(codes::NODE_NOT_FOUND, message).permanent())
        }
    }
}
