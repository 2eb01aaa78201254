//! What a CI system says of the CI job that this runs in: it makes the job's request the same when it is made again.

use sha2::{Digest as _, Sha256};

/// The longest idempotency key that the API takes.
const LONGEST: usize = 200;

/// A CI system: its name, a variable that tells it, and those that name the run and the attempt at it.
struct System {
    name: &'static str,
    /// It is this one if the variable is set, to the value if there is one.
    sign: (&'static str, Option<&'static str>),
    /// All of them must be there: an attempt that can't be told from the one before would get its answer.
    run: &'static [&'static str],
}

/// The first whose sign is there.
const SYSTEMS: &[System] = &[
    System { name: "github", sign: ("GITHUB_ACTIONS", Some("true")), run: &["GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT"] },
    System { name: "gitlab", sign: ("GITLAB_CI", Some("true")), run: &["CI_PIPELINE_ID", "CI_JOB_ID"] },
    System { name: "azure", sign: ("TF_BUILD", Some("True")), run: &["BUILD_BUILDID", "SYSTEM_JOBATTEMPT"] },
    System {
        name: "bitbucket",
        sign: ("BITBUCKET_BUILD_NUMBER", None),
        run: &["BITBUCKET_PIPELINE_UUID", "BITBUCKET_STEP_UUID", "BITBUCKET_STEP_RUN_NUMBER"],
    },
    System { name: "circleci", sign: ("CIRCLECI", Some("true")), run: &["CIRCLE_WORKFLOW_ID", "CIRCLE_BUILD_NUM"] },
    System {
        name: "buildkite",
        sign: ("BUILDKITE", Some("true")),
        run: &["BUILDKITE_BUILD_ID", "BUILDKITE_RETRY_COUNT"],
    },
    System { name: "codebuild", sign: ("CODEBUILD_BUILD_ID", None), run: &["CODEBUILD_BUILD_ID"] },
    // Last: its variables have common names.
    System { name: "jenkins", sign: ("JENKINS_URL", None), run: &["BUILD_TAG", "BUILD_NUMBER"] },
];

/// The key of this job's request to deploy this bundle; None where no CI system says what run this is.
pub(crate) fn idempotency_key(
    variable: impl Fn(&str) -> Option<String>,
    deployment: &str,
    bundle: &str,
) -> Option<String> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let is_here = |system: &&System| {
        let (sign, wanted) = system.sign;
        set(sign).is_some_and(|value| wanted.is_none_or(|wanted| value.eq_ignore_ascii_case(wanted)))
    };
    let system = SYSTEMS.iter().find(is_here)?;
    let mut parts = vec![system.name.to_owned()];
    for name in system.run {
        parts.push(set(name)?);
    }
    parts.extend([deployment.to_owned(), bundle.to_owned()]);
    let key = parts.join("/");
    if key.chars().count() <= LONGEST {
        return Some(key);
    }
    // As text of its parts, each with its length, so that no two lists give one text.
    let exact: String = parts.iter().map(|part| format!("{}:{part}", part.len())).collect();
    Some(format!("{}/{}", system.name, hex(&Sha256::digest(exact))))
}

/// A key for one request, where nothing tells it from others.
pub(crate) fn fresh_key() -> String {
    let mut bytes = [0; 16];
    engine::clock::random_bytes(&mut bytes);
    format!("cli/{}", hex(&bytes))
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(variables: &[(&str, &str)]) -> Option<String> {
        let of = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        idempotency_key(of, "churn", "v1")
    }

    #[test]
    fn each_system_names_run_and_attempt() {
        for (variables, wanted) in [
            (
                &[("GITHUB_ACTIONS", "true"), ("GITHUB_RUN_ID", "7"), ("GITHUB_RUN_ATTEMPT", "2")][..],
                "github/7/2/churn/v1",
            ),
            (&[("GITLAB_CI", "true"), ("CI_PIPELINE_ID", "7"), ("CI_JOB_ID", "31")], "gitlab/7/31/churn/v1"),
            (&[("TF_BUILD", "True"), ("BUILD_BUILDID", "7"), ("SYSTEM_JOBATTEMPT", "1")], "azure/7/1/churn/v1"),
            (
                &[
                    ("BITBUCKET_BUILD_NUMBER", "7"),
                    ("BITBUCKET_PIPELINE_UUID", "{p}"),
                    ("BITBUCKET_STEP_UUID", "{s}"),
                    ("BITBUCKET_STEP_RUN_NUMBER", "1"),
                ],
                "bitbucket/{p}/{s}/1/churn/v1",
            ),
            (&[("CIRCLECI", "true"), ("CIRCLE_WORKFLOW_ID", "w"), ("CIRCLE_BUILD_NUM", "9")], "circleci/w/9/churn/v1"),
            (
                &[("BUILDKITE", "true"), ("BUILDKITE_BUILD_ID", "b"), ("BUILDKITE_RETRY_COUNT", "0")],
                "buildkite/b/0/churn/v1",
            ),
            (&[("CODEBUILD_BUILD_ID", "p:1")], "codebuild/p:1/churn/v1"),
            (
                &[("JENKINS_URL", "https://j.example"), ("BUILD_TAG", "jenkins-a-7"), ("BUILD_NUMBER", "7")],
                "jenkins/jenkins-a-7/7/churn/v1",
            ),
        ] {
            assert_eq!(key(variables).as_deref(), Some(wanted));
        }
    }

    #[test]
    fn without_an_attempt_there_is_none() {
        assert_eq!(key(&[]), None);
        assert_eq!(key(&[("CI", "true"), ("GITHUB_RUN_ID", "7"), ("GITHUB_RUN_ATTEMPT", "1")]), None);
        assert_eq!(key(&[("GITHUB_ACTIONS", "true"), ("GITHUB_RUN_ID", "7")]), None);
        assert_eq!(key(&[("GITHUB_ACTIONS", "true"), ("GITHUB_RUN_ID", "7"), ("GITHUB_RUN_ATTEMPT", "")]), None);
    }

    #[test]
    fn a_long_one_is_shortened_and_still_its_own() {
        let of = |tag: &str| {
            let tag = tag.repeat(200);
            key(&[("JENKINS_URL", "x"), ("BUILD_TAG", &tag), ("BUILD_NUMBER", "1")]).unwrap()
        };
        assert!(of("a").len() <= LONGEST && of("a") != of("b") && of("a") == of("a"));
    }

    #[test]
    fn a_fresh_one_is_fresh() {
        assert_ne!(fresh_key(), fresh_key());
    }
}
