//! What must be there, and what the role must be allowed, found without changing anything.

use super::place::{Place, Problems};
use crate::{
    codes,
    http::CallError,
    snowflake::{
        client::{Api, Call},
        grants::Privilege,
        ident::Ident,
        statements::Context,
        who::Whoami,
    },
};

/// The least privileges, one by one.
pub(super) fn privileges(place: &Place) -> Vec<Privilege> {
    let (database, schema) = (&place.database, &place.schema);
    let [in_database, in_schema, _] = &place.repository;
    let repository: Vec<&Ident> = place.repository.iter().collect();
    let mut all = vec![
        Privilege::new("USAGE", "DATABASE", &[database]),
        Privilege::new("USAGE", "SCHEMA", &[database, schema]),
        Privilege::new("CREATE SERVICE", "SCHEMA", &[database, schema]),
        Privilege::new("CREATE FUNCTION", "SCHEMA", &[database, schema]),
        Privilege::new("USAGE", "COMPUTE_POOL", &[&place.pool]),
        Privilege::new("MONITOR", "COMPUTE_POOL", &[&place.pool]),
        Privilege::new("READ", "IMAGE_REPOSITORY", &repository),
        Privilege::new("WRITE", "IMAGE_REPOSITORY", &repository),
    ];
    if (in_database, in_schema) != (database, schema) {
        all.push(Privilege::new("USAGE", "DATABASE", &[in_database]));
        all.push(Privilege::new("USAGE", "SCHEMA", &[in_database, in_schema]));
    }
    all.extend(place.warehouse.iter().map(|name| Privilege::new("USAGE", "WAREHOUSE", &[name])));
    all.extend(place.integrations.iter().map(|name| Privilege::new("USAGE", "INTEGRATION", &[name])));
    if place.settings.public_endpoint {
        all.push(Privilege::new("BIND SERVICE ENDPOINT", "ACCOUNT", &[]));
    }
    all.dedup();
    all
}

/// Who signs in; and what of the place is missing, or not allowed. All at once.
pub(super) async fn look(api: &Api, place: &Place, problems: &mut Problems) -> Result<Whoami, CallError> {
    // The REST API runs as the user's default role, whatever the settings say.
    let default = api.whoami(&Context::default()).await?;
    let who = match &place.role {
        None => default,
        Some(role) if role.as_str() == default.role => default,
        Some(role) => {
            let message = format!(
                "role: Snowflake's REST API runs as the user's default role, which is {}. Run ALTER USER {} SET DEFAULT_ROLE = {role}, or change the setting.",
                if default.role.is_empty() { "none" } else { &default.role },
                Ident::exact(&default.user).map(|user| user.rest()).unwrap_or_default(),
            );
            problems.add(codes::SETTING_INVALID, message);
            let context = Context { role: Some(role.clone()), ..Context::default() };
            match api.whoami(&context).await {
                Ok(who) => who,
                Err(error) if error.is(&codes::NODE_FORBIDDEN) || error.is(&codes::SNOWFLAKE_SQL_FAILED) => {
                    problems.add(codes::SNOWFLAKE_PRIVILEGE_MISSING, format!("role: {}", error.failure.message));
                    return Ok(default);
                }
                Err(error) => return Err(error),
            }
        }
    };
    let pool = place.pool.rest();
    match api.rest_if_there(Call::get(&["api", "v2", "compute-pools", &pool], "reading the compute pool")).await? {
        None => not_there("computePool", "compute pool", &pool, problems),
        Some(found) => {
            let state = api.clean(found["state"].as_str().unwrap_or_default(), 40);
            if state == "SUSPENDED" && found["auto_resume"] == false {
                problems.wrong("computePool", format_args!("{pool} is suspended and does not resume by itself"));
            }
        }
    }
    let [database, schema, name] = place.repository.each_ref().map(Ident::rest);
    let path = ["api", "v2", "databases", &database, "schemas", &schema, "image-repositories", &name];
    if api.rest_if_there(Call::get(&path, "reading the image repository")).await?.is_none() {
        not_there("imageRepository", "image repository", &format!("{database}.{schema}.{name}"), problems);
    }
    if place.connection.registry_secret().is_none() {
        let message = "connection.registryPassword: the image repository takes a password or a programmatic access token, and none is entered.";
        problems.add(codes::SETTING_MISSING, message);
    }
    let Ok(role) = Ident::exact(&who.role) else {
        problems.missing("role", "the user has no default role; name one.");
        return Ok(who);
    };
    let context = Context { role: place.role.clone(), ..Context::default() };
    let grants = api.grants_of(&role, &context).await?;
    for wanted in privileges(place).iter().filter(|wanted| !grants.allow(wanted)) {
        let partly = if grants.partial { " as far as could be read" } else { "" };
        let message = format!("The role {} lacks a privilege{partly}: {}", who.role, wanted.statement(&role));
        problems.add(codes::SNOWFLAKE_PRIVILEGE_MISSING, message);
    }
    Ok(who)
}

fn not_there(path: &str, what: &str, name: &str, problems: &mut Problems) {
    let message = format!("{path}: there is no {what} {name}, or the role may not see it.");
    problems.add(codes::NODE_NOT_FOUND, message);
}
