//! The stand-in's SQL API: only the statements that a target needs, each read to its last token.

use serde_json::{Value, json};

use super::{
    account::{DATABASE, Function, Pace, ROLE, SCHEMA, State, image_of, refusal},
    sql::{Reader, Token},
};
use crate::wire::{Asked, Told};

/// Of a body, what may be said.
const KNOWN: [&str; 7] = ["statement", "timeout", "database", "schema", "warehouse", "role", "bindings"];

type Outcome = Result<Rows, Told>;

/// Names of columns, and rows.
struct Rows(Vec<&'static str>, Vec<Vec<Option<String>>>);

pub(crate) fn answer(state: &mut State, asked: &Asked) -> Result<Told, Told> {
    if let ("GET", Some(handle)) = (asked.method.as_str(), asked.path.get(3)) {
        let (told, looks) = state.handles.get_mut(handle).ok_or_else(|| refusal(404, "390404", "no such handle"))?;
        if *looks > 0 {
            *looks -= 1;
            return Ok(running(handle));
        }
        let Some(body) = state.pending.remove(handle) else { return Ok(told.clone()) };
        let told = ended(state, &body);
        state.handles.insert(handle.clone(), (told.clone(), 0));
        return Ok(told);
    }
    if asked.method != "POST" || asked.path.len() != 3 {
        return Err(refusal(405, "390405", "method not allowed"));
    }
    if let Some((name, _)) =
        asked.query.iter().find(|(name, _)| !["requestId", "retry", "async"].contains(&name.as_str()))
    {
        return Err(refusal(400, "391911", format!("unknown parameter {name}")));
    }
    let body = asked.json().ok_or_else(|| refusal(400, "391902", "no JSON"))?;
    let object = body.as_object().ok_or_else(|| refusal(400, "391902", "no object"))?;
    if let Some(key) = object.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(refusal(400, "391912", format!("unknown property {key}")));
    }
    let request = asked.parameter("requestId");
    if let Some(request) = request {
        let shape: Vec<usize> = request.split('-').map(str::len).collect();
        if shape != [8, 4, 4, 4, 12] {
            return Err(refusal(400, "391911", "requestId must be a UUID"));
        }
        if let Some(told) = state.requests.get(request) {
            // The same request: what came of it.
            return match asked.parameter("retry") {
                Some("true") => Ok(told.clone()),
                _ => Err(refusal(400, "391911", "duplicate requestId without retry")),
            };
        }
    }
    let handle = format!("01b2-{}", state.handles.len());
    let before = state.effects.len();
    let told = if state.pace == Pace::EffectsLater && changes(&body) {
        state.pending.insert(handle.clone(), body);
        state.handles.insert(handle.clone(), (running(&handle), 1));
        running(&handle)
    } else {
        let done = ended(state, &body);
        if state.pace == Pace::AnswersLater && state.effects.len() > before {
            state.handles.insert(handle.clone(), (done, 1));
            running(&handle)
        } else {
            done
        }
    };
    if let Some(request) = request {
        state.requests.insert(request.to_owned(), told.clone());
    }
    Ok(told)
}

fn changes(body: &Value) -> bool {
    let sql = body["statement"].as_str().unwrap_or_default();
    !["SHOW", "SELECT"].iter().any(|word| sql.starts_with(word))
}

fn ended(state: &mut State, body: &Value) -> Told {
    match run(state, body) {
        Ok(Rows(columns, rows)) => Told::new(200, success(&columns, &rows)),
        Err(told) => told,
    }
}

fn running(handle: &str) -> Told {
    let body = json!({
        "code": "333334", "message": "Asynchronous execution in progress.", "statementHandle": handle,
        "statementStatusUrl": format!("/api/v2/statements/{handle}"),
    });
    Told::new(202, body)
}

fn success(columns: &[&str], rows: &[Vec<Option<String>>]) -> Value {
    let column = |name: &&str| json!({"name": name, "type": "text", "nullable": true});
    json!({
        "code": "090001", "sqlState": "00000", "message": "Statement executed successfully.", "statementHandle": "01b2-0",
        "createdOn": 0, "data": rows,
        "resultSetMetaData": {
            "numRows": rows.len(), "format": "jsonv2", "rowType": columns.iter().map(column).collect::<Vec<_>>(),
            "partitionInfo": [{"rowCount": rows.len(), "uncompressedSize": 0}],
        },
    })
}

fn sql_error(code: &str, state: &str, message: impl Into<String>) -> Told {
    let message = message.into();
    Told::new(422, json!({"code": code, "sqlState": state, "message": message, "statementHandle": "01b2-0"}))
}

fn syntax(message: String) -> Told {
    sql_error("001003", "42000", format!("SQL compilation error: {message}"))
}

fn not_there(what: &str) -> Told {
    sql_error("002003", "42S02", format!("SQL compilation error: {what} does not exist or not authorized."))
}

fn run(state: &mut State, body: &Value) -> Outcome {
    let role = body.get("role").and_then(Value::as_str).map_or_else(|| state.default_role.clone(), str::to_owned);
    if ![ROLE, &state.default_role].contains(&role.as_str()) {
        return Err(sql_error(
            "390189",
            "42501",
            format!("Role '{role}' specified in the request is not granted to this user."),
        ));
    }
    let mut sql = Reader::of(body["statement"].as_str().unwrap_or_default()).map_err(syntax)?;
    if sql.words("SHOW") {
        show(state, sql)
    } else if sql.words("SELECT") {
        select(state, sql, body, &role)
    } else {
        change(state, sql)
    }
}

fn schema(path: &[String]) -> Result<(), Told> {
    if path[..2] == [DATABASE, SCHEMA] { Ok(()) } else { Err(not_there("Schema")) }
}

fn show(state: &State, mut sql: Reader) -> Outcome {
    let text = |text: &str| Some(text.to_owned());
    if sql.words("USER FUNCTIONS IN SCHEMA") {
        schema(&sql.path(2).map_err(syntax)?)?;
        sql.end().map_err(syntax)?;
        let row = |one: &Function| {
            let arguments = format!("{}({}) RETURN {}", one.name, one.types, one.returns);
            vec![text(&one.name), text(SCHEMA), Some(arguments), text(&one.comment)]
        };
        return Ok(Rows(
            vec!["name", "schema_name", "arguments", "description"],
            state.functions.iter().map(row).collect(),
        ));
    }
    let columns = vec!["privilege", "granted_on", "name", "granted_to", "grantee_name"];
    if sql.words("GRANTS TO ROLE") {
        let role = sql.name().map_err(syntax)?;
        sql.end().map_err(syntax)?;
        if role == "READER" {
            return Ok(Rows(columns, Vec::new()));
        }
        let row = |(privilege, on, name): &(String, String, String)| {
            vec![text(privilege), text(on), text(name), text("ROLE"), text(&role)]
        };
        return Ok(Rows(columns, state.privileges.iter().map(row).collect()));
    }
    if sql.words("GRANTS ON FUNCTION") {
        let at = function(state, &mut sql)?;
        sql.end().map_err(syntax)?;
        let one = &state.functions[at];
        let row =
            |role: &String| vec![text("USAGE"), text("FUNCTION"), text(&one.name), text("ROLE"), Some(role.clone())];
        let owner = vec![text("OWNERSHIP"), text("FUNCTION"), text(&one.name), text("ROLE"), text(ROLE)];
        return Ok(Rows(columns, one.users.iter().map(row).chain([owner]).collect()));
    }
    Err(syntax(sql.wrong("something to show")))
}

/// `"D"."S"."F"(NUMBER)`: which one.
fn function(state: &State, sql: &mut Reader) -> Result<usize, Told> {
    let path = sql.path(3).map_err(syntax)?;
    schema(&path)?;
    let types = sql.kinds().map_err(syntax)?;
    let found = state.functions.iter().position(|one| one.name == path[2] && one.types == types);
    found.ok_or_else(|| not_there("Function"))
}

fn service(state: &State, sql: &mut Reader) -> Result<String, Told> {
    let path = sql.path(3).map_err(syntax)?;
    schema(&path)?;
    if state.services.contains_key(&path[2]) { Ok(path[2].clone()) } else { Err(not_there("Service")) }
}

fn select(state: &State, mut sql: Reader, body: &Value, role: &str) -> Outcome {
    if sql.words("CURRENT_USER") {
        let values = ["DEPLOYER", role, "ACME_TEST", "9.9.9"];
        return Ok(Rows(
            vec!["user", "role", "account", "version"],
            vec![values.iter().map(|v| Some((*v).to_owned())).collect()],
        ));
    }
    let path = sql.path(3).map_err(syntax)?;
    schema(&path)?;
    // Of several calls, each is of the same function.
    let names = sql.0.iter().filter(|token| **token == Token::Name(path[2].clone())).count();
    let (all, calls) = (sql.0.iter().filter(|token| **token == Token::Sign('?')).count(), names + 1);
    let marks = all / calls;
    let one = state.functions.iter().find(|one| one.name == path[2] && one.names.len() == marks);
    let one = one.ok_or_else(|| not_there("Function"))?;
    let bindings = body["bindings"].as_object().cloned().unwrap_or_default();
    if bindings.len() != all || bindings.values().any(|bound| bound["type"] != "TEXT") {
        return Err(syntax("Bind variable not set".to_owned()));
    }
    let values: Vec<Value> = (1..=all).map(|n| bindings[&n.to_string()]["value"].clone()).collect();
    if state.services.get(&one.service).is_none_or(|service| service.status != "RUNNING") {
        return Err(sql_error("391502", "57P03", "Request failed: the service is not running"));
    }
    if values.contains(&json!("break")) {
        return Err(sql_error("100132", "P0000", "Request failed for service function: remote service error: 400"));
    }
    let answer = |values: &[Value]| {
        let named: serde_json::Map<_, _> = one.names.iter().cloned().zip(values.iter().cloned()).collect();
        Some(json!({"asked": named}).to_string())
    };
    Ok(Rows(vec!["F"; calls], vec![values.chunks(marks.max(1)).map(answer).collect()]))
}

fn change(state: &mut State, mut sql: Reader) -> Outcome {
    let done = || Ok(Rows(vec!["status"], vec![vec![Some("Statement executed successfully.".to_owned())]]));
    if sql.words("ALTER SERVICE") {
        let name = service(state, &mut sql)?;
        let starting = state.starting;
        if sql.words("FROM SPECIFICATION") {
            let specification = sql.body().map_err(syntax)?.trim().to_owned() + "\n";
            sql.end().map_err(syntax)?;
            image_of(&specification).ok_or_else(|| syntax("no image in the specification".to_owned()))?;
            let service = state.services.get_mut(&name).unwrap();
            service.broken = state.next_fails.take();
            service.specification = specification;
            service.starting = starting;
            if service.status != "SUSPENDED" {
                service.status = "PENDING".to_owned();
            }
            state.effects.push(format!("alter service {name}"));
            return done();
        }
        let service = state.services.get_mut(&name).unwrap();
        if sql.words("UNSET") {
            loop {
                match sql.word().map_err(syntax)?.as_str() {
                    "QUERY_WAREHOUSE" => service.warehouse = None,
                    "EXTERNAL_ACCESS_INTEGRATIONS" => service.integrations.clear(),
                    other => return Err(syntax(format!("invalid property '{other}'"))),
                }
                if !sql.sign(',') {
                    break;
                }
            }
            sql.end().map_err(syntax)?;
            state.effects.push(format!("unset service {name}"));
            return done();
        }
        sql.need("SET").map_err(syntax)?;
        while !sql.0.is_empty() {
            let property = sql.word().map_err(syntax)?;
            sql.need_sign('=').map_err(syntax)?;
            match property.as_str() {
                "MIN_INSTANCES" => service.min = sql.number().map_err(syntax)?,
                "MAX_INSTANCES" => service.max = sql.number().map_err(syntax)?,
                "AUTO_SUSPEND_SECS" => service.suspend = sql.number().map_err(syntax)?,
                "AUTO_RESUME" => service.resume = sql.word().map_err(syntax)? == "TRUE",
                "QUERY_WAREHOUSE" => service.warehouse = Some(sql.name().map_err(syntax)?),
                "COMMENT" => service.comment = sql.text().map_err(syntax)?,
                "EXTERNAL_ACCESS_INTEGRATIONS" => {
                    sql.need_sign('(').map_err(syntax)?;
                    service.integrations.clear();
                    service.integrations.push(sql.name().map_err(syntax)?);
                    while !sql.sign(')') {
                        sql.need_sign(',').map_err(syntax)?;
                        service.integrations.push(sql.name().map_err(syntax)?);
                    }
                }
                other => return Err(syntax(format!("invalid property '{other}'"))),
            }
        }
        state.effects.push(format!("set service {name}"));
        return done();
    }
    if sql.words("CREATE OR REPLACE FUNCTION") {
        let made = created(state, &mut sql)?;
        state.functions.retain(|one| (&one.name, &one.types) != (&made.name, &made.types));
        state.effects.push(format!("create function {}({})", made.name, made.types));
        state.functions.push(made);
        return done();
    }
    if sql.words("ALTER FUNCTION") {
        let at = function(state, &mut sql)?;
        sql.need("SET COMMENT").and_then(|()| sql.need_sign('=')).map_err(syntax)?;
        state.functions[at].comment = sql.text().map_err(syntax)?;
        sql.end().map_err(syntax)?;
        state.effects.push(format!("comment function {}", state.functions[at].name));
        return done();
    }
    if sql.words("DROP FUNCTION") {
        let at = function(state, &mut sql)?;
        sql.end().map_err(syntax)?;
        let gone = state.functions.remove(at);
        state.effects.push(format!("drop function {}({})", gone.name, gone.types));
        return done();
    }
    let give = if sql.words("GRANT") {
        true
    } else {
        sql.need("REVOKE").map_err(syntax)?;
        false
    };
    let at = if sql.words("USAGE ON FUNCTION") {
        Ok(function(state, &mut sql)?)
    } else {
        sql.need("SERVICE ROLE").map_err(syntax)?;
        let name = service(state, &mut sql)?;
        sql.need_sign('!').and_then(|()| sql.need("ALL_ENDPOINTS_USAGE")).map_err(syntax)?;
        Err(name)
    };
    sql.need(if give { "TO ROLE" } else { "FROM ROLE" }).map_err(syntax)?;
    let role = sql.name().map_err(syntax)?;
    sql.end().map_err(syntax)?;
    let users = match &at {
        Ok(at) => &mut state.functions[*at].users,
        Err(name) => &mut state.services.get_mut(name).unwrap().users,
    };
    if give {
        users.insert(role.clone())
    } else {
        users.remove(&role)
    };
    let what = at.map_or_else(|name| format!("endpoints of {name}"), |at| state.functions[at].name.clone());
    state.effects.push(format!("{} {what} {role}", if give { "grant" } else { "revoke" }));
    done()
}

fn created(state: &State, sql: &mut Reader) -> Result<Function, Told> {
    let path = sql.path(3).map_err(syntax)?;
    schema(&path)?;
    sql.need_sign('(').map_err(syntax)?;
    let (mut names, mut types) = (Vec::new(), Vec::new());
    while !sql.sign(')') {
        if !names.is_empty() {
            sql.need_sign(',').map_err(syntax)?;
        }
        names.push(sql.name().map_err(syntax)?);
        types.push(sql.kind().map_err(syntax)?);
    }
    sql.need("RETURNS").map_err(syntax)?;
    let returns = sql.kind().map_err(syntax)?;
    sql.need("SERVICE").and_then(|()| sql.need_sign('=')).map_err(syntax)?;
    let service = service(state, sql)?;
    sql.need("ENDPOINT").and_then(|()| sql.need_sign('=')).and_then(|()| sql.need("API")).map_err(syntax)?;
    sql.need("COMMENT").and_then(|()| sql.need_sign('=')).map_err(syntax)?;
    let comment = sql.text().map_err(syntax)?;
    if sql.words("MAX_BATCH_ROWS") {
        sql.need_sign('=').and_then(|()| sql.number()).map_err(syntax)?;
    }
    sql.need("AS").map_err(syntax)?;
    if sql.text().map_err(syntax)? != "/predict" {
        return Err(syntax("no such path".to_owned()));
    }
    sql.end().map_err(syntax)?;
    let users = Default::default();
    Ok(Function { name: path[2].clone(), types: types.join(", "), names, returns, service, comment, users })
}
