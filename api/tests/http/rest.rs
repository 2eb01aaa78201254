//! What the edge does for the REST API, whatever lies behind it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::toy::{KEY, Server, start, start_with};

async fn ask(server: &Server, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let mut request = server.http.request(method, server.url(path)).basic_auth(KEY, Some("")).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json; charset=utf-8");
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn calls_arrive_however_they_are_written() {
    let server = start().await;
    for path in ["/dip/publicapi/echo/a%20b", "//dip/publicapi//echo//a%20b/", "/public/api/echo/a%20b"] {
        let (status, told) = ask(&server, Method::PUT, &format!("{path}?x=a+b&y=%C3%A9&y="), &[], "{\"a\": 1}").await;
        assert_eq!(status, 200, "{path}");
        let wanted = json!({
            "login": "ada", "method": "PUT", "path": ["echo", "a b"], "query": [["x", "a b"], ["y", "é"], ["y", ""]],
            "body": "{\"a\": 1}",
        });
        assert_eq!(told, wanted, "{path}");
    }
    let long = "q".repeat(60_000);
    let (status, told) = ask(&server, Method::GET, &format!("/dip/publicapi/echo?q={long}"), &[], "").await;
    assert_eq!((status, told["query"][0][1].as_str().unwrap().len()), (200, long.len()));
}

#[tokio::test]
async fn whatever_is_wrong_is_told_as_one_object() {
    let server = start_with(api::Settings { body_limit: 10, ..api::Settings::default() }).await;
    let object = |(status, told): (u16, Value)| {
        assert!(told["message"].is_string() && told["detailedMessage"] == told["message"], "{told}");
        (status, told["errorType"].as_str().unwrap().to_owned())
    };
    let is = |status: u16, kind: &str| (status, kind.to_owned());
    assert_eq!(object(ask(&server, Method::GET, "/dip/publicapi/nothing", &[], "").await), is(404, "NOT_FOUND"));
    let (_, told) = ask(&server, Method::GET, "/dip/publicapi/nothing", &[], "").await;
    assert_eq!(told["message"], "path: Nothing.");
    let large = ask(&server, Method::POST, "/dip/publicapi/echo", &[], "0123456789ab").await;
    assert_eq!(object(large), is(413, "BODY_TOO_LARGE"));
    let origin = [("origin", "https://elsewhere.example.org")];
    let foreign = ask(&server, Method::GET, "/dip/publicapi/echo", &origin, "").await;
    assert_eq!(object(foreign), is(403, "ORIGIN_NOT_ALLOWED"));
    let form = [("content-type", "multipart/form-data; boundary=X")];
    let cut = ask(&server, Method::POST, "/dip/publicapi/echo", &form, "nothing").await;
    assert_eq!(object(cut), is(400, "BAD_REQUEST"));
    let nobody = server.http.get(server.url("/dip/publicapi/echo")).send().await.unwrap();
    assert_eq!(object((nobody.status().as_u16(), nobody.json().await.unwrap())), is(401, "UNAUTHENTICATED"));
}

#[tokio::test]
async fn an_administrator_acts_for_others() {
    let server = start().await;
    let (_, told) = ask(&server, Method::GET, "/dip/publicapi/echo", &[("x-dku-proxyuser", "bob")], "").await;
    assert_eq!(told["login"], "bob");
    let (status, told) = ask(&server, Method::GET, "/dip/publicapi/echo", &[("x-dku-proxyuser", "eve")], "").await;
    assert_eq!((status, told["message"].as_str().unwrap()), (403, "X-DKU-ProxyUser: Not as them."));
}

#[tokio::test]
async fn too_many_requests_are_refused() {
    let settings = api::Settings { key_requests_per_second: 1, key_burst: 1, ..api::Settings::default() };
    let server = start_with(settings).await;
    assert_eq!(ask(&server, Method::GET, "/dip/publicapi/echo", &[], "").await.0, 200);
    let (status, told) = ask(&server, Method::GET, "/dip/publicapi/echo", &[], "").await;
    assert_eq!((status, told["errorType"].as_str().unwrap()), (429, "RATE_LIMITED"));
}
