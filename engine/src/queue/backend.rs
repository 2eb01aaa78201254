//! The queue as apalis sees it: a channel that a reader task fills. It never fails, since any error from a poll ends an apalis worker for
//! good, and does no IO, since it is not polled while all seats are busy.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use apalis_core::{
    backend::{Backend, BackendConfig, finalize::Ephemeral},
    task::{Task, builder::TaskBuilder, task_id::RandomId},
    worker::context::WorkerContext,
};
use tokio::sync::mpsc;
use tower_layer::Identity;

use super::seats::{Job, Seats};

/// A job in the form in which apalis hands it to the handler, which takes it out once.
pub type Envelope = std::sync::Arc<std::sync::Mutex<Option<Job>>>;

/// The backend over this process's seats.
#[derive(Debug)]
pub struct SeatsBackend {
    jobs: Option<mpsc::Receiver<Job>>,
}

impl SeatsBackend {
    /// The backend of these seats. There is one; a second one ends at once.
    pub fn new(seats: &Seats) -> Self {
        Self { jobs: seats.receiver() }
    }
}

impl Backend for SeatsBackend {
    type Task = Task<Envelope>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, Infallible>>> {
        let Some(jobs) = &mut self.jobs else { return Poll::Ready(None) };
        jobs.poll_recv(context).map(|job| {
            let job = job?;
            Some(Ok(TaskBuilder::new(std::sync::Arc::new(std::sync::Mutex::new(Some(job)))).build()))
        })
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for SeatsBackend {
    type Args = Envelope;
    type Id = RandomId;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}
