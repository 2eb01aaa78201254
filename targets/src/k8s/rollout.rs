//! Whether a rollout is over, and how: a pure function of the Deployment, its Pods and the time.

use serde_json::Value;

use super::{names::REVISION, notes::Watch};

/// How a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Every Pod is new, and can be queried.
    Complete,
    /// It goes on; the sentence says with what.
    Going(String),
    /// It won't come to an end; the sentence says why.
    Failed(String),
}

/// So long at most, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) progress: u32,
    pub(super) failing: u32,
    pub(super) unplaced: u32,
}

/// After the cluster's own deadline, so long until we take nobody for watching it.
const NOBODY_WATCHES: u32 = 120;

/// Judges. `watch` keeps since when Pods fail, across looks.
pub(super) fn judge(
    deployment: &Value,
    pods: &[Value],
    revision: &str,
    limits: Limits,
    now: i64,
    watch: &mut Watch,
) -> Standing {
    let number = |pointer: &str| deployment.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let wanted = deployment.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
    let seen = number("/status/observedGeneration") >= number("/metadata/generation");
    let (all, new, fit) =
        (number("/status/replicas"), number("/status/updatedReplicas"), number("/status/availableReplicas"));
    if seen && new == wanted && all == wanted && fit == wanted {
        return Standing::Complete;
    }
    let new_pods: Vec<_> = pods.iter().filter(|pod| is_of(pod, revision) && !is_going(pod)).collect();
    let trouble = new_pods.iter().find_map(|pod| failing(pod));
    // A quota or an admission rule that lets no Pod be made is no better than no room.
    let no_pod = || replica_failure(deployment).filter(|_| new_pods.is_empty());
    let unplaced = new_pods.iter().find_map(|pod| unschedulable(pod)).or_else(no_pod);
    watch.failing_since = trouble.as_ref().map(|_| watch.failing_since.unwrap_or(now));
    watch.unplaced_since = unplaced.as_ref().map(|_| watch.unplaced_since.unwrap_or(now));
    let latest = || {
        let words = trouble.as_ref().map(|(words, _)| words.clone());
        let unready = || new_pods.iter().find_map(|pod| unready(pod));
        words
            .or_else(|| unplaced.clone())
            .or_else(|| replica_failure(deployment))
            .or_else(unready)
            .or_else(|| paused(deployment))
    };
    let because = |text: &str| latest().map_or_else(|| format!("{text}."), |words| format!("{text}. {words}"));

    if seen
        && condition(deployment, "Progressing")
            .is_some_and(|(status, reason, _)| status == "False" && reason == "ProgressDeadlineExceeded")
    {
        return Standing::Failed(because(&format!("The rollout made no progress for {} seconds", limits.progress)));
    }
    if let Some((words, true)) = &trouble {
        return Standing::Failed(words.clone());
    }
    if passed(watch.failing_since, now, limits.failing) {
        return Standing::Failed(because(&format!("New Pods failed for {} seconds", limits.failing)));
    }
    if passed(watch.unplaced_since, now, limits.unplaced) {
        return Standing::Failed(because(&format!("New Pods found no room for {} seconds", limits.unplaced)));
    }
    if passed(Some(watch.since), now, limits.progress.saturating_add(NOBODY_WATCHES).saturating_mul(rounds(wanted))) {
        let said = if latest().is_some() {
            "The rollout did not end in time"
        } else {
            "The rollout did not end in time, and the cluster does not say why"
        };
        return Standing::Failed(because(said));
    }
    let counted = || {
        // Until its controller has seen it, the numbers are of the generation before.
        if seen {
            format!("{new} of {wanted} Pods are new, {fit} can be queried, {all} there are.")
        } else {
            "The cluster has not begun the rollout yet.".to_owned()
        }
    };
    Standing::Going(latest().unwrap_or_else(counted))
}

/// Pods are replaced one by one, and each has the progress deadline for itself.
fn rounds(wanted: u64) -> u32 {
    u32::try_from(wanted.max(1)).unwrap_or(u32::MAX)
}

fn passed(since: Option<i64>, now: i64, seconds: u32) -> bool {
    since.is_some_and(|since| now.saturating_sub(since) >= i64::from(seconds).saturating_mul(1_000_000))
}

/// Whether a Pod is one of this revision.
pub(super) fn is_of(pod: &Value, revision: &str) -> bool {
    pod.pointer("/metadata/labels").and_then(|labels| labels.get(REVISION)).and_then(Value::as_str) == Some(revision)
}

pub(super) fn is_going(pod: &Value) -> bool {
    pod.pointer("/metadata/deletionTimestamp").is_some()
}

fn name(pod: &Value) -> &str {
    pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("without a name")
}

/// What stops this Pod from running, and whether it stays so whatever happens.
pub(super) fn failing(pod: &Value) -> Option<(String, bool)> {
    const WAITING: &[&str] = &[
        "ImagePullBackOff",
        "ErrImagePull",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PreCreateHookError",
        "PostStartHookError",
    ];
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let containers = lists.iter().filter_map(|list| pod.pointer(list)?.as_array()).flatten();
    for container in containers {
        let text = |pointer: &str| container.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let mut reason = text("/state/waiting/reason");
        // Between two crashes it runs for a moment.
        let again = container.get("restartCount").and_then(Value::as_u64).is_some_and(|times| times > 1)
            && container.get("ready") != Some(&Value::Bool(true))
            && container.pointer("/lastState/terminated").is_some();
        if !WAITING.contains(&reason) {
            if !again {
                continue;
            }
            reason = "it ends again and again";
        }
        let mut words = format!("Pod {}: {reason}", name(pod));
        if !text("/state/waiting/message").is_empty() {
            words.push_str(&format!(": {}", text("/state/waiting/message")));
        }
        let code = container.pointer("/lastState/terminated/exitCode").and_then(Value::as_i64);
        if let Some(code) = code {
            words.push_str(&format!(" (its last run ended with exit code {code}"));
            for pointer in ["/lastState/terminated/reason", "/lastState/terminated/message"] {
                if !text(pointer).is_empty() {
                    words.push_str(&format!(", {}", text(pointer).trim()));
                }
            }
            words.push(')');
        }
        return Some((words, matches!(reason, "InvalidImageName" | "ErrImageNeverPull")));
    }
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if text("/status/phase") == "Failed" {
        let words = format!("Pod {} failed: {} {}", name(pod), text("/status/reason"), text("/status/message"));
        return Some((words.trim_end().to_owned(), false));
    }
    None
}

/// Why the scheduler finds no node for this Pod.
fn unschedulable(pod: &Value) -> Option<String> {
    let (status, reason, message) = condition(pod, "PodScheduled")?;
    (status == "False" && reason == "Unschedulable").then(|| format!("Pod {} finds no node: {message}", name(pod)))
}

/// Who stopped the rollout on its way.
fn paused(deployment: &Value) -> Option<String> {
    let paused = deployment.pointer("/spec/paused") == Some(&Value::Bool(true));
    paused.then(|| {
        "The Deployment is paused: somebody stopped its rollouts (kubectl rollout resume lets them go on).".to_owned()
    })
}

/// What this Pod lacks until it can be queried. Every Pod lacks it for a while.
fn unready(pod: &Value) -> Option<String> {
    let Some((status, _, message)) = condition(pod, "Ready") else {
        let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or("Pending");
        return Some(format!("Pod {} is {phase}, and says nothing else.", name(pod)));
    };
    if status == "True" {
        return None;
    }
    let message = if message.is_empty() { format!("Ready is {status}") } else { message.to_owned() };
    let containers = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
    let restarts = containers.into_iter().flatten().filter_map(|one| one.get("restartCount")?.as_u64()).sum::<u64>();
    let again = if restarts > 0 { format!("; restarted {restarts} times") } else { String::new() };
    Some(format!("Pod {} runs, and can't be queried: {message}{again}", name(pod)))
}

/// Why the cluster makes no Pods: a quota, an admission rule.
fn replica_failure(deployment: &Value) -> Option<String> {
    let (status, reason, message) = condition(deployment, "ReplicaFailure")?;
    (status == "True").then(|| format!("No Pod could be made ({reason}): {message}"))
}

/// A condition's status, reason and message.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let all = object.pointer("/status/conditions")?.as_array()?;
    let found = all.iter().find(|one| one.get("type").and_then(Value::as_str) == Some(kind))?;
    let text = |key: &str| found.get(key).and_then(Value::as_str).unwrap_or_default();
    Some((text("status"), text("reason"), text("message")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LIMITS: Limits = Limits { progress: 600, failing: 60, unplaced: 300 };

    fn deployment(new: u64, fit: u64, all: u64, observed: u64) -> Value {
        json!({
            "metadata": {"generation": 2}, "spec": {"replicas": 2},
            "status": {"observedGeneration": observed, "updatedReplicas": new, "availableReplicas": fit, "replicas": all},
        })
    }

    fn watch() -> Watch {
        Watch::new(1, "r", 0)
    }

    fn pod(status: Value) -> Value {
        json!({"metadata": {"name": "p", "labels": {REVISION: "r"}}, "status": status})
    }

    fn waiting(reason: &str) -> Value {
        pod(json!({"containerStatuses": [{
            "state": {"waiting": {"reason": reason, "message": "back-off"}},
            "lastState": {"terminated": {"exitCode": 3, "reason": "Error", "message": "no model"}},
        }]}))
    }

    fn at(deployment: &Value, pods: &[Value], seconds: i64, watch: &mut Watch) -> Standing {
        judge(deployment, pods, "r", LIMITS, seconds * 1_000_000, watch)
    }

    #[test]
    fn complete_means_all_of_it() {
        assert_eq!(at(&deployment(2, 2, 2, 2), &[], 0, &mut watch()), Standing::Complete);
        for (new, fit, all, observed) in [(1, 2, 2, 2), (2, 1, 2, 2), (2, 2, 3, 2), (2, 2, 2, 1)] {
            assert!(matches!(at(&deployment(new, fit, all, observed), &[], 0, &mut watch()), Standing::Going(_)));
        }
    }

    #[test]
    fn what_lets_no_pod_be_made_is_given_its_time_and_named() {
        let (mut stuck, mut watch) = (deployment(0, 2, 2, 2), watch());
        let failure = json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}]);
        stuck["status"]["conditions"] = failure;
        assert!(matches!(at(&stuck, &[], 0, &mut watch), Standing::Going(said) if said.contains("exceeded quota")));
        // Where one is made all the same, the quota is only tight.
        assert!(matches!(at(&stuck, &[pod(json!({}))], 299, &mut watch), Standing::Going(_)));
        assert!(matches!(at(&stuck, &[], 301, &mut watch), Standing::Going(_)));
        let Standing::Failed(said) = at(&stuck, &[], 601, &mut watch) else { panic!() };
        assert!(said.contains("found no room for 300 seconds") && said.contains("exceeded quota"), "{said}");
    }

    #[test]
    fn a_pod_that_says_nothing_and_a_paused_rollout_are_named() {
        let mut paused = deployment(0, 2, 2, 2);
        paused["spec"]["paused"] = json!(true);
        assert!(matches!(at(&paused, &[], 0, &mut watch()), Standing::Going(said) if said.contains("is paused")));
        let mute = [pod(json!({"phase": "Pending"}))];
        assert!(
            matches!(at(&deployment(1, 2, 3, 2), &mute, 0, &mut watch()), Standing::Going(said) if said.starts_with("Pod p is Pending"))
        );
    }

    #[test]
    fn failing_pods_are_given_their_time() {
        let (going, mut watch) = (deployment(1, 1, 3, 2), watch());
        let crash = [waiting("CrashLoopBackOff")];
        assert!(matches!(at(&going, &crash, 100, &mut watch), Standing::Going(_)));
        // It runs again: the time starts anew.
        assert!(matches!(at(&going, &[pod(json!({}))], 150, &mut watch), Standing::Going(_)));
        assert!(matches!(at(&going, &crash, 170, &mut watch), Standing::Going(_)));
        let Standing::Failed(said) = at(&going, &crash, 230, &mut watch) else { panic!() };
        assert!(
            said.contains("Pod p: CrashLoopBackOff: back-off (its last run ended with exit code 3, Error, no model)"),
            "{said}"
        );
        // Of another revision, or on its way out: none of ours.
        let mut other = waiting("CrashLoopBackOff");
        other["metadata"]["labels"][REVISION] = json!("old");
        let mut leaving = waiting("CrashLoopBackOff");
        leaving["metadata"]["deletionTimestamp"] = json!("2020-01-01T00:00:00Z");
        assert!(matches!(at(&going, &[other, leaving], 400, &mut watch), Standing::Going(_)));
        assert!(matches!(
            at(&going, &[waiting("InvalidImageName")], 0, &mut super::tests::watch()),
            Standing::Failed(_)
        ));
    }

    #[test]
    fn each_reason_is_told() {
        let conditions = |kind: &str, status: &str, reason: &str| {
            let mut going = deployment(1, 1, 3, 2);
            going["status"]["conditions"] =
                json!([{"type": kind, "status": status, "reason": reason, "message": "exceeded quota"}]);
            going
        };
        let late = conditions("Progressing", "False", "ProgressDeadlineExceeded");
        let Standing::Failed(said) = at(&late, &[waiting("ImagePullBackOff")], 0, &mut watch()) else { panic!() };
        assert!(said.contains("no progress for 600") && said.contains("ImagePullBackOff"), "{said}");
        // The condition is of the generation before.
        let mut stale = late.clone();
        stale["status"]["observedGeneration"] = json!(1);
        assert!(matches!(at(&stale, &[], 0, &mut watch()), Standing::Going(_)));

        let slow = pod(json!({
            "conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "containers with unready status: [service]"}],
            "containerStatuses": [{"restartCount": 1, "state": {"running": {}}}],
        }));
        let Standing::Failed(said) = at(&late, &[slow], 0, &mut watch()) else { panic!() };
        let wanted = "Pod p runs, and can't be queried: containers with unready status: [service]; restarted 1 times";
        assert!(said.contains("no progress for 600") && said.contains(wanted), "{said}");

        let quota = conditions("ReplicaFailure", "True", "FailedCreate");
        let Standing::Going(said) = at(&quota, &[], 0, &mut watch()) else { panic!() };
        assert!(said.contains("exceeded quota"), "{said}");

        let nowhere = pod(
            json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]}),
        );
        let mut watch = watch();
        assert!(matches!(
            at(&deployment(1, 1, 3, 2), std::slice::from_ref(&nowhere), 0, &mut watch),
            Standing::Going(_)
        ));
        let Standing::Failed(said) = at(&deployment(1, 1, 3, 2), &[nowhere], 300, &mut watch) else { panic!() };
        assert!(said.contains("0/3 nodes"), "{said}");

        let Standing::Failed(said) = at(&deployment(1, 1, 3, 2), &[], 2 * 720, &mut super::tests::watch()) else {
            panic!()
        };
        assert!(said.contains("did not end in time"), "{said}");
    }
}
