//! The HorizontalPodAutoscaler.

use serde_json::{Value, json};

use super::Goal;

/// Where no target is set, in percent of the CPU that Pods ask for.
const CPU: u32 = 80;

pub(in crate::k8s) fn manifest(goal: &Goal<'_>) -> Result<Option<Value>, String> {
    let Some(scaling) = goal.workload.scaling() else { return Ok(None) };
    let memory = scaling.target_memory.as_deref();
    let cpu = scaling.target_cpu_utilization.or_else(|| memory.is_none().then_some(CPU));
    let Some(version) = goal.offered.autoscaling(memory.is_some()) else {
        return Err("The cluster offers no version of the autoscaling API that knows these targets.".to_owned());
    };
    let mut spec = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": goal.names.base},
        "minReplicas": scaling.least(),
        "maxReplicas": scaling.most().max(scaling.least()),
    });
    if version == "autoscaling/v1" {
        spec["targetCPUUtilizationPercentage"] = json!(cpu);
    } else {
        let resource =
            |name: &str, target: Value| json!({"type": "Resource", "resource": {"name": name, "target": target}});
        let mut metrics = Vec::new();
        if let Some(cpu) = cpu {
            metrics.push(resource("cpu", json!({"type": "Utilization", "averageUtilization": cpu})));
        }
        if let Some(memory) = memory {
            metrics.push(resource("memory", json!({"type": "AverageValue", "averageValue": memory})));
        }
        spec["metrics"] = json!(metrics);
    }
    let metadata = goal.metadata(&goal.names.base);
    Ok(Some(json!({"apiVersion": version, "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": spec})))
}
