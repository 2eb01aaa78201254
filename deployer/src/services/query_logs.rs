//! The log of queries that go through the deployer: the same events as an API node's, to where the deployment logs its queries; and, with their `status`, those that the
//! service refused.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use engine::clock;
use serde_json::{Value, json};
use targets::{
    query_log::{Bounds, Emitter, QueryLogMetrics, Surroundings},
    spec::{Auditing, DeploySpec, EndpointSpec},
    target::{Secrets as _, ServiceAnswer},
};

use crate::{Deployer, platform::Opener};

/// So many deployments' logs are open at once; the one that was used longest ago is closed for another.
const MOST: usize = 64;
/// What waits in a log that is closed is sent for so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// The logs that are open, by deployment. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct QueryLogs {
    open: Arc<Mutex<HashMap<String, Log>>>,
    metrics: QueryLogMetrics,
}

#[derive(Debug)]
struct Log {
    to: Auditing,
    emitter: Arc<Emitter>,
    used_at: i64,
}

impl QueryLogs {
    /// What was sent, and what was not.
    pub fn metrics(&self) -> &QueryLogMetrics {
        &self.metrics
    }

    /// The log of what is deployed; None where queries are not logged. One that can't be opened is told in the process's own log, and never stands in a query's way.
    pub(super) async fn of(&self, deployer: &Deployer, spec: &DeploySpec) -> Option<Arc<Emitter>> {
        let to = spec.service.as_ref()?.auditing.as_ref().filter(|to| **to != Auditing::None)?;
        if let Some(emitter) = self.known(&spec.deployment, to) {
            return Some(emitter);
        }
        let key = match to.secret() {
            Some((_, key)) => match Opener(deployer).open(&key.id).await {
                Ok(key) => Some(key),
                Err(failure) => return untold(spec, &failure),
            },
            None => None,
        };
        let folder = deployer.targets.tools().host.query_logs();
        let around = Surroundings { http: &deployer.targets.tools().http, logs: &folder };
        let (outlet, routing_key) = match around.open(to, |_| key.clone()) {
            Ok(opened) => opened,
            Err(failure) => return untold(spec, &failure),
        };
        let (bounds, metrics) = (Bounds::default(), self.metrics.clone());
        let emitter = Arc::new(Emitter::start(outlet, routing_key, &spec.deployment, bounds, metrics));
        self.put(&spec.deployment, Log { to: to.clone(), emitter: Arc::clone(&emitter), used_at: clock::now_micros() });
        Some(emitter)
    }

    /// Sends what waits in all of them, and opens none again. For the end of the process.
    pub async fn close(&self) {
        let all: Vec<_> = self.lock().drain().collect();
        futures_util::future::join_all(all.into_iter().map(|(_, log)| closed(log))).await;
    }

    fn known(&self, deployment: &str, to: &Auditing) -> Option<Arc<Emitter>> {
        let mut open = self.lock();
        let log = open.get_mut(deployment).filter(|log| log.to == *to)?;
        log.used_at = clock::now_micros();
        Some(Arc::clone(&log.emitter))
    }

    fn put(&self, deployment: &str, log: Log) {
        let mut gone = Vec::new();
        {
            let mut open = self.lock();
            gone.extend(open.insert(deployment.to_owned(), log));
            if open.len() > MOST {
                let oldest = open.iter().min_by_key(|(_, log)| log.used_at).map(|(id, _)| id.clone());
                gone.extend(oldest.and_then(|id| open.remove(&id)));
            }
        }
        for log in gone {
            tokio::spawn(closed(log));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Log>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A query that is under way keeps its log: it ends with that query then.
async fn closed(log: Log) {
    if let Some(emitter) = Arc::into_inner(log.emitter) {
        let dropped = emitter.close(PATIENCE).await;
        if dropped > 0 {
            tracing::warn!(dropped, "query events were not sent before their log was closed");
        }
    }
}

fn untold(spec: &DeploySpec, failure: &engine::failure::Failure) -> Option<Arc<Emitter>> {
    tracing::warn!(deployment = spec.deployment, code = %failure.code, "queries through the deployer are not logged: {}", failure.message);
    None
}

/// The event of one query that was answered. `via` tells it from the node's own, where the node logs, too.
pub(super) fn event(spec: &DeploySpec, endpoint: &EndpointSpec, query: &Value, answer: &ServiceAnswer) -> Value {
    let service = spec.service.as_ref();
    let told = answer.body.get("apiContext").and_then(|context| context.get("serviceGeneration"));
    let only = match service.map_or(&[][..], |service| &service.versions) {
        [version] => json!(version.version),
        _ => Value::Null,
    };
    json!({
        "msgType": message(endpoint.kind.as_deref()), "timestamp": clock::now_micros() / 1_000, "via": "DEPLOYER",
        "serviceId": service.map(|service| &service.service_id), "endpointId": endpoint.id,
        "serviceGeneration": told.cloned().unwrap_or(only),
        "query": query, "status": answer.status, "answer": answer.body,
    })
}

fn message(kind: Option<&str>) -> &'static str {
    match kind {
        Some("DATASETS_LOOKUP") => "dataset-lookup-query",
        Some("SQL_QUERY") => "sql-query",
        Some("PY_FUNCTION" | "R_FUNCTION") => "function-query",
        _ => "prediction-query",
    }
}
