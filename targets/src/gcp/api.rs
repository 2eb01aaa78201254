//! Google's REST APIs: calls, operations that go on, refusals.

use engine::failure::Failure;
use serde_json::Value;

use crate::{
    codes,
    http::{Body, CallError, Exchange, Method, Request, Said},
    managed::signed_in::SignedIn,
};

/// More pages of a list are not read.
const MAX_PAGES: usize = 50;
/// Longer names of operations are not kept.
const MAX_NAME: usize = 500;

/// One API, signed in.
#[derive(Clone)]
pub(crate) struct Google {
    api: SignedIn,
}

/// How an operation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It goes on.
    Running,
    /// It ended well.
    Done,
    /// It did not.
    Failed(Said),
    /// The platform does not know it any more.
    Forgotten,
}

impl Google {
    pub(super) fn new(api: SignedIn) -> Self {
        Self { api }
    }

    /// The other side's words, made harmless.
    pub(crate) fn clean(&self, text: &str, most: usize) -> String {
        self.api.node().scrubber().clean(text, most)
    }

    /// Where it is, without a path.
    pub(crate) fn base(&self) -> String {
        self.api.node().url().as_str().to_owned()
    }

    /// A call with limits of its own.
    pub(crate) async fn send<'a>(&self, request: impl Fn() -> Request<'a>) -> Result<Exchange, CallError> {
        self.api.exchange(request).await
    }

    /// A call whose answer is handed back as it came.
    async fn exchange(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
        doing: &str,
    ) -> Result<Exchange, CallError> {
        let body = || body.map_or(Body::None, |body| Body::Json(body.clone()));
        self.api.exchange(|| Request { query, body: body(), ..Request::new(method.clone(), path, doing) }).await
    }

    /// A resource; None when there is none.
    pub(crate) async fn get(&self, path: &[&str], doing: &str) -> Result<Option<Value>, CallError> {
        let got = self.exchange(Method::GET, path, &[], None, doing).await?;
        match got.status {
            404 => Ok(None),
            _ if got.succeeded() => got.json(doing).map(Some),
            _ => Err(refused(&got, doing)),
        }
    }

    /// Whether the API answers there, whatever it says of a page that it does not have.
    pub(crate) async fn answers(&self) -> Result<(), CallError> {
        let doing = "asking whether it is there";
        let got = self.exchange(Method::GET, &["v1"], &[], None, doing).await?;
        if got.succeeded() || matches!(got.status, 400 | 403..=405) { Ok(()) } else { Err(refused(&got, doing)) }
    }

    /// A call that changes something. A null is no body.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Value,
        doing: &str,
    ) -> Result<Value, CallError> {
        let body = Some(&body).filter(|body| !body.is_null());
        let got = self.exchange(method, path, query, body, doing).await?;
        if got.succeeded() { got.json(doing) } else { Err(refused(&got, doing)) }
    }

    /// All of a list; nothing where its parent is not there.
    pub(crate) async fn list(
        &self,
        path: &[&str],
        filter: Option<&str>,
        field: &str,
        doing: &str,
    ) -> Result<Vec<Value>, CallError> {
        let (mut all, mut token) = (Vec::new(), String::new());
        for _ in 0..MAX_PAGES {
            let mut query = vec![("pageSize", "100")];
            query.extend(filter.map(|filter| ("filter", filter)));
            if !token.is_empty() {
                query.push(("pageToken", &token));
            }
            let got = self.exchange(Method::GET, path, &query, None, doing).await?;
            if got.status == 404 {
                return Ok(all);
            }
            if !got.succeeded() {
                return Err(refused(&got, doing));
            }
            let mut page: Value = got.json(doing)?;
            if let Value::Array(items) = page[field].take() {
                all.extend(items);
            }
            match page["nextPageToken"].as_str().filter(|next| !next.is_empty()) {
                Some(next) => token = next.to_owned(),
                None => return Ok(all),
            }
        }
        let message = format!("Google's list does not end while {doing}: more than {MAX_PAGES} pages.");
        Err(CallError::reported(Failure::new(codes::NODE_ANSWER_TOO_LARGE, message)))
    }

    /// How an operation is, by a name that [`operation`] let through.
    pub(crate) async fn progress(&self, name: &str) -> Result<Progress, CallError> {
        let path: Vec<&str> = ["v1"].into_iter().chain(name.split('/')).collect();
        match self.get(&path, "asking about an operation").await? {
            None => Ok(Progress::Forgotten),
            Some(said) => Ok(read(&said)),
        }
    }
}

/// Reads an operation.
pub(crate) fn read(operation: &Value) -> Progress {
    if operation["done"] != true {
        return Progress::Running;
    }
    let error = &operation["error"];
    if error.is_null() {
        return Progress::Done;
    }
    let message = error["message"].as_str().unwrap_or_default().to_owned();
    Progress::Failed(Said { code: error["code"].as_i64().map_or_else(String::new, grpc), message })
}

/// The name of an operation that a call began; None where it is none that may be asked about.
pub(crate) fn operation(answer: &Value) -> Option<String> {
    let name = answer["name"].as_str()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '@');
    let fine = name.len() <= MAX_NAME && name.starts_with("projects/") && name.chars().all(plain);
    (fine && name.contains("/operations/") && !name.contains("..") && !name.contains("//")).then(|| name.to_owned())
}

/// What the codes of operations are called.
fn grpc(code: i64) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let name = usize::try_from(code).ok().and_then(|code| NAMES.get(code));
    name.map_or_else(|| format!("code {code}"), |name| (*name).to_owned())
}

/// What a refusal means: `{"error": {"code", "message", "status"}}`.
pub(super) fn refused(got: &Exchange, doing: &str) -> CallError {
    let text = |value: &Value, key: &str| value["error"][key].as_str().unwrap_or_default().to_owned();
    let said = got.value().map(|value| Said { code: text(&value, "status"), message: text(&value, "message") });
    let error = got.refused(doing, &said.unwrap_or_default());
    // Something else goes on, or somebody was there first: whoever comes back looks.
    if got.status == 409 {
        let failure = Failure { code: codes::NODE_BUSY, ..error.failure };
        return CallError { failure, retryable: true, retry_after: got.retry_after(), ..error };
    }
    error
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_are_read() {
        assert_eq!(read(&json!({})), Progress::Running);
        assert_eq!(read(&json!({"done": true, "response": {}})), Progress::Done);
        let failed = read(&json!({"done": true, "error": {"code": 9, "message": "m"}}));
        assert_eq!(failed, Progress::Failed(Said { code: "FAILED_PRECONDITION".to_owned(), message: "m".to_owned() }));
    }

    #[test]
    fn only_names_of_operations_are_followed() {
        let name = "projects/1/locations/l/endpoints/e/operations/5";
        assert_eq!(operation(&json!({"name": name})).as_deref(), Some(name));
        for bad in
            ["projects/1/endpoints/2", "/operations/1", "projects/../x/operations/1", "projects/1?a=/operations/1", ""]
        {
            assert_eq!(operation(&json!({"name": bad})), None, "{bad}");
        }
    }
}
