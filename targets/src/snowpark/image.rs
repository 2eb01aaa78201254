//! The image of a service in Snowflake's image repository.

use engine::failure::{StepError, StepOutcome, StepResult};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    notes::{self, Pushed},
    session::Session,
    site::Site,
};
use crate::{
    http::CallError,
    snowflake::{client::Call, ident::Ident},
};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Listed {
    image_name: String,
    tags: String,
    digest: String,
    image_path: String,
}

/// Step `push_bundle`: the image is in the repository. Its tag says what is in it, so one that is there is not made again.
pub(super) async fn push(session: &Session<'_>) -> StepResult {
    let (site, image) = (&session.site, &session.site.goal.image);
    if let Some(found) = find(site).await? {
        notes::write(session.run(), notes::PUSHED, &found).await?;
        return Ok(StepOutcome::output(json!({"image": image.path, "digest": found.digest})));
    }
    Err(engine::failure::Failure::new(crate::codes::NODE_REFUSED, "no image").permanent())
}

/// The image of our tag, if the repository lists it.
async fn find(site: &Site) -> Result<Option<Pushed>, CallError> {
    let [database, schema, name] = site.place.repository.each_ref().map(Ident::rest);
    let path = ["api", "v2", "databases", &database, "schemas", &schema, "image-repositories", &name, "images"];
    let found = site.api.rest_if_there(Call::get(&path, "reading the images")).await?;
    let all: Vec<Listed> = match found {
        Some(value @ Value::Array(_)) => serde_json::from_value(value).unwrap_or_default(),
        _ => Vec::new(),
    };
    let image = &site.goal.image;
    let ours = |one: &&Listed| {
        let tagged = one.tags.split(',').any(|tag| tag.trim() == image.tag);
        (one.image_name == image.name && tagged)
            || image.path.trim_start_matches('/') == one.image_path.trim_start_matches('/')
    };
    let digest = |one: &Listed| Some(site.api.clean(&one.digest, 100)).filter(|digest| digest.starts_with("sha256:"));
    Ok(all.iter().find(ours).map(|one| Pushed { tag: image.tag.clone(), digest: digest(one) }))
}
