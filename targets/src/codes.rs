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

    // Clouds that run our containers.
    /// Settings of another shape than this build's.
    SETTINGS_UNREADABLE,
    /// There is no connection, or one of another type.
    CONNECTION_UNFIT,
    /// The operator does not lend the machine's identity, or not to there.
    AMBIENT_CREDENTIALS_OFF,
    /// The machine has no identity that we can read.
    AMBIENT_CREDENTIALS_MISSING,
    /// The text is no credentials of the wanted kind.
    CREDENTIALS_INVALID,
    /// The credentials lack a right.
    RIGHTS_MISSING,
    /// A name that we need is somebody else's.
    PLATFORM_NAME_TAKEN,
    /// The platform tried, and says that it failed.
    PLATFORM_FAILED,
    /// Something of ours runs there without traffic.
    PLATFORM_LEFT_RUNNING,
    /// Something that should be on the platform is not there.
    PLATFORM_RESOURCE_MISSING,
    /// What is deployed is no API service.
    SERVICE_EXPECTED,
    /// The platform is still at work on a service.
    SERVICE_STARTING,
    /// The platform serves one endpoint, and none is chosen.
    ENDPOINT_NOT_CHOSEN,
    /// The platform has a gate of its own, through which the service's keys don't get.
    AUTHORIZATION_UNSUPPORTED,
    /// More versions at once than the platform can tell apart.
    VERSIONS_TOO_MANY,
    /// A setting that nothing works without is not set.
    SETTING_MISSING,
    /// A setting can't be what it is.
    SETTING_INVALID,
    /// The worker's folder for scratch files failed.
    SCRATCH_FAILED,
    /// The archive of a service version can't be amended.
    SERVICE_PACKAGE_INVALID,
    /// This worker's operator did not declare the shared folder, or copy command, of this name.
    DELIVERY_NOT_DECLARED,
    /// The package could not be brought to the node's disk.
    DELIVERY_FAILED,
    /// The package did not get there in time.
    DELIVERY_TIMED_OUT,
    /// The agent beside the node speaks another version, or is none.
    AGENT_INVALID,
    /// The API node says that it is not alive.
    API_NODE_NOT_ALIVE,
    /// The API node does not have the service.
    SERVICE_MISSING,
    /// What answered before is not on the API node any more.
    GENERATION_MISSING,
    /// The API node has a service of this id that we did not make.
    SERVICE_NAME_TAKEN,
    /// The API node has a generation of this name that we did not bring.
    GENERATION_FOREIGN,
    /// Other generations answer queries than were switched to.
    GENERATIONS_DIFFER,
    /// A query was not answered by the service.
    SERVICE_NOT_ANSWERING,
    /// A service that wants credentials answers without, or the other way round.
    SERVICE_AUTH_DIFFERS,
    /// The deployment's endpoint is not in all of its versions.
    ENDPOINT_MISSING,
    /// The deployer has no credentials that this service accepts.
    QUERY_CREDENTIALS_MISSING,
    /// A connection's credentials for AWS can't be used.
    AWS_CREDENTIALS_INVALID,
    /// A connection wants the machine's own AWS identity, which the operator does not lend.
    AWS_IDENTITY_NOT_LENT,
    /// A quota of the AWS account is used up.
    AWS_QUOTA_EXCEEDED,
    /// A thing of this name is in the account, and is not this deployment's.
    SAGEMAKER_NAME_TAKEN,
    /// There is no repository for images.
    SAGEMAKER_REPOSITORY_MISSING,
    /// More versions than an endpoint has variants.
    SAGEMAKER_TOO_MANY_VERSIONS,
    /// Keys or tokens where IAM decides who may query.
    SAGEMAKER_AUTHORIZATION_UNSUPPORTED,
    /// An endpoint is on its way.
    SAGEMAKER_ENDPOINT_CHANGING,
    /// An endpoint does not come into service.
    SAGEMAKER_ENDPOINT_FAILED,
    /// SageMaker took an update back.
    SAGEMAKER_ROLLED_BACK,
    /// SageMaker could not take an update back.
    SAGEMAKER_ROLLBACK_FAILED,
    /// The role lacks a privilege.
    SNOWFLAKE_PRIVILEGE_MISSING,
    /// The private key of a connection can't be used.
    SNOWFLAKE_KEY_INVALID,
    /// A statement was understood, and failed.
    SNOWFLAKE_SQL_FAILED,
    /// A container or the service failed.
    SNOWPARK_SERVICE_FAILED,
    /// The service was not ready in time.
    SNOWPARK_SERVICE_NOT_READY,
    /// The text names no image.
    IMAGE_REFERENCE_INVALID,
    /// What is to be served, as the image would say it, is not sound.
    IMAGE_CONTRACT_INVALID,
    /// What is to lie in an image can't: its path, its size.
    IMAGE_LAYER_INVALID,
    /// The layer could not be written, or its content changed meanwhile.
    IMAGE_LAYER_FAILED,
    /// The registry does not have the base image.
    IMAGE_BASE_NOT_FOUND,
    /// The base image is not made for the wanted platform.
    IMAGE_PLATFORM_MISSING,
    /// A manifest or a configuration is not one that we can read.
    IMAGE_MANIFEST_INVALID,
    /// What a registry sent is not what its digest says.
    IMAGE_DIGEST_MISMATCH,
    /// An image, or a part of it, is larger than we take.
    IMAGE_TOO_LARGE,
    /// No connection to the registry.
    REGISTRY_UNREACHABLE,
    /// The registry's certificate or the TLS handshake is wrong.
    REGISTRY_TLS_FAILED,
    /// The registry, its token service or its store is at a forbidden address.
    REGISTRY_ADDRESS_FORBIDDEN,
    /// The registry or its token service does not accept the login.
    REGISTRY_KEY_REJECTED,
    /// The login lacks a right in the repository.
    REGISTRY_FORBIDDEN,
    /// The registry has no such repository.
    REGISTRY_REPOSITORY_MISSING,
    /// The registry asked us to come back later.
    REGISTRY_BUSY,
    /// The registry, or a proxy before it, is not available.
    REGISTRY_UNAVAILABLE,
    /// No answer from the registry in time.
    REGISTRY_TIMED_OUT,
    /// The connection to the registry ended early.
    REGISTRY_CUT,
    /// The registry refused what we sent.
    REGISTRY_REFUSED,
    /// The registry's answer is not what its API promises.
    REGISTRY_ANSWER_INVALID,
    /// Queries cannot be logged as the settings say.
    QUERY_LOG_INVALID,
    /// Where queries are logged could not be reached.
    QUERY_LOG_UNREACHABLE,
    /// Where queries are logged refused them.
    QUERY_LOG_REFUSED,
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
