//! Being inside a step: something outside of the worker keeps it there until it is let go.

use engine::db::{Db, Tx, sql_with};
use sandbox::{Fault, FaultHandle, FaultKind, When};
use sea_orm::ConnectionTrait;
use tests::until_true;

use super::{
    hook::{Effect, Hook},
    scene::{PATIENCE, Scene},
};

/// Where a worker is stopped.
#[derive(Clone, Copy, Debug)]
pub(super) enum Inside {
    /// At a table of Slipway's database that the step reads.
    Table(&'static str),
    /// At the `nth` call to the node that matches: before its effect, or after it and before the answer.
    Call { method: &'static str, path: &'static str, nth: u32, when: When },
    /// In the hook before the deployment.
    PreHook,
    /// In the hook after it.
    PostHook,
}

/// What keeps it there.
pub(super) enum Gate {
    Table(Tx, Db, &'static str),
    Call(FaultHandle),
    Hook,
}

impl Inside {
    /// The hook, if it is one.
    pub(super) fn hook(self, scene: &Scene) -> Option<&Hook> {
        match self {
            Self::PreHook => Some(&scene.pre),
            Self::PostHook => Some(&scene.post),
            Self::Table(_) | Self::Call { .. } => None,
        }
    }
}

impl Gate {
    /// Shuts it; other hooks than the one that is meant don't wait.
    pub(super) async fn shut(scene: &Scene, inside: Inside) -> Self {
        if !matches!(inside, Inside::PreHook) {
            scene.pre.let_go();
        }
        if !matches!(inside, Inside::PostHook) {
            scene.post.let_go();
        }
        match inside {
            Inside::Table(table) => {
                let tx = scene.db.begin().await.unwrap();
                // It stands still on purpose, and keeps its lock.
                tx.execute_unprepared("SET LOCAL idle_in_transaction_session_timeout = 0").await.unwrap();
                tx.execute_unprepared(&format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await.unwrap();
                Self::Table(tx, scene.db.clone(), table)
            }
            Inside::Call { method, path, nth, when } => {
                let fault = Fault::on(method, path, FaultKind::Hold { when }).nth(nth);
                Self::Call(scene.node.arm(fault).unwrap())
            }
            Inside::PreHook | Inside::PostHook => Self::Hook,
        }
    }

    /// Waits until somebody stands before it.
    pub(super) async fn reached(&self, scene: &Scene, inside: Inside) -> Option<Effect> {
        match self {
            Self::Table(_, db, table) => {
                until_true("the step waits for the table", PATIENCE, || async {
                    let sql = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = $1::text::regclass";
                    let waits = db.pool().query_one_raw(sql_with(db.pool(), sql, [(*table).into()])).await;
                    waits.unwrap().is_some()
                })
                .await;
            }
            Self::Call(fault) => {
                let reached = tokio::time::timeout(PATIENCE, fault.reached()).await;
                reached.unwrap_or_else(|_| panic!("the call was not made: {:#?}", scene.node.calls()));
            }
            Self::Hook => {}
        }
        match inside.hook(scene) {
            Some(hook) => Some(hook.begun(1).await),
            None => None,
        }
    }

    /// Opens it, for whoever waits and whoever comes.
    pub(super) async fn open(self, scene: &Scene) {
        match self {
            Self::Table(tx, ..) => tx.commit().await.unwrap(),
            Self::Call(fault) => fault.release(),
            Self::Hook => {
                scene.pre.let_go();
                scene.post.let_go();
            }
        }
    }
}
