//! The failure codes of this crate. Each has a page, `docs/errors/<CODE>.md`; a test holds that.

use engine::failure::Code;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        $($(#[$doc])* pub const $name: Code = Code::new(stringify!($name));)*

        /// Every code above.
        pub const ALL: &[&str] = &[$(stringify!($name)),*];
    };
}

codes! {
    /// No connection: refused, no route, no such host, or no answer to the connect. Nothing was sent.
    NODE_UNREACHABLE,
    /// The certificate or the TLS handshake is wrong.
    NODE_TLS_FAILED,
    /// Every address of the host is in a forbidden network.
    NODE_ADDRESS_FORBIDDEN,
    /// The text is no node URL.
    NODE_URL_INVALID,
    /// 401: the node does not know the key.
    NODE_KEY_REJECTED,
    /// 403: the key or the acting user lacks a right.
    NODE_FORBIDDEN,
    /// 404 for something that should be there.
    NODE_NOT_FOUND,
    /// Another 4xx.
    NODE_REFUSED,
    /// 429.
    NODE_BUSY,
    /// 500, with the node's error object.
    NODE_ERROR,
    /// 502, 503, 504, or a 5xx without the node's error object.
    NODE_UNAVAILABLE,
    /// A success whose body is no JSON: a login page, a proxy.
    NODE_ANSWER_NOT_JSON,
    /// JSON of another shape than the API promises.
    NODE_ANSWER_UNEXPECTED,
    /// The connection ended before the answer was complete.
    NODE_ANSWER_CUT,
    /// More than we read of one answer.
    NODE_ANSWER_TOO_LARGE,
    /// No answer in time.
    NODE_TIMED_OUT,
    /// A redirect, which is never followed.
    NODE_REDIRECTED,
    /// An error inside a success: the report of a preload or an activation.
    NODE_REPORT_ERROR,
    /// The node said yes, and does not show the effect.
    NODE_EFFECT_MISSING,
    /// The node has a bundle of this id that we did not import.
    BUNDLE_ID_FOREIGN,
    /// The bundle id is bound to another content.
    BUNDLE_CONTENT_DIFFERS,
    /// A connection that the bundle uses is not on the node.
    CONNECTION_MISSING,
    /// A connection has another type on the node.
    CONNECTION_TYPE_DIFFERS,
    /// Several kinds of problem with the bundle's connections.
    CONNECTIONS_INVALID,
    /// A code env that the bundle uses must be on the node, and is not.
    CODE_ENV_MISSING,
    /// The folder that the project is to lie in is not on the node.
    PROJECT_FOLDER_MISSING,
    /// The user as whom changes are made is not on the node.
    ACTING_USER_MISSING,
    /// A run-as user is not on the node.
    RUN_AS_USER_MISSING,
    /// Several kinds of problem, found before anything changed.
    VALIDATION_FAILED,
    /// The node accepted a run-as user and does not show it.
    RUN_AS_NOT_TAKEN,
    /// The governance source could not be asked.
    GOVERNANCE_UNAVAILABLE,
    /// The governance source does not answer as one.
    GOVERNANCE_SOURCE_INVALID,
    /// The project is not on the node any more.
    PROJECT_MISSING,

    /// The infrastructure's or the deployment's settings lack something that this platform needs.
    SETTING_MISSING,
    /// Something in the settings can't be.
    SETTING_INVALID,
    /// Something that we did not make has the name that ours would have.
    PLATFORM_NAME_TAKEN,

    /// The way to reach a cluster is none: a kubeconfig that can't be used, no service account.
    K8S_ACCESS_INVALID,
    /// The credentials lack a right in the namespace.
    K8S_RIGHT_MISSING,
    /// The cluster offers no version of an API that is needed.
    K8S_API_MISSING,
    /// Another field manager holds a field that we set.
    K8S_FIELD_CONFLICT,
    /// The API server does not take an object.
    K8S_OBJECT_REFUSED,
    /// The new Pods do not come to run.
    K8S_ROLLOUT_FAILED,
    /// The Deployment, or another object that should be there, is not.
    K8S_OBJECT_MISSING,
    /// Pods are on their way.
    K8S_PODS_STARTING,
    /// Pods don't come to run, or don't stay.
    K8S_PODS_FAILING,
    /// Slipway has no way to put a query to the service.
    K8S_NOT_QUERYABLE,
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn every_code_has_its_page() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors");
        for code in ALL {
            let page = std::fs::read_to_string(format!("{docs}/{code}.md")).unwrap_or_default();
            assert!(page.starts_with(&format!("# {code}\n")), "docs/errors/{code}.md");
            for heading in ["## What happened", "## What to do", "## Retried?", "## Source"] {
                assert!(page.contains(heading), "{code}: {heading}");
            }
        }
    }
}
