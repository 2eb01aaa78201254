//! Snowflake, which does a change at once, or answers with a handle first; and its repository of images.

use std::{marker::PhantomData, time::Duration};

use engine::failure::StepResult;
use serde_json::{Value, json};

use super::{Armed, Back, Bench, Scene, Seen, Trouble, seen_by};
use crate::{
    snowflake::{account, world::World},
    support::Step,
    wire::{Asked, Server},
};

pub(super) trait Pace {
    const PACE: account::Pace;
}

macro_rules! paces {
    ($($name:ident),*) => {
        $(pub(super) struct $name;
        impl Pace for $name {
            const PACE: account::Pace = account::Pace::$name;
        })*
    };
}

paces!(Now, AnswersLater, EffectsLater);

pub(super) struct Account<P>(World, PhantomData<P>);

impl<P> Account<P> {
    fn doors(&self) -> [&Server; 2] {
        [&self.0.server, &self.0.repository]
    }

    fn forget(&self) {
        self.doors().into_iter().for_each(Server::forget);
    }
}

/// Most statements only ask.
fn may_change(asked: &Asked) -> bool {
    let body = asked.json().unwrap_or_default();
    let statement = body["statement"].as_str().unwrap_or_default().trim_start().to_ascii_lowercase();
    asked.method != "GET" && !["show ", "select ", "describe "].iter().any(|begin| statement.starts_with(begin))
}

/// Hashes are numbered: in them is the address of the base image's registry, which is another one each time.
fn numbered(text: &str) -> String {
    let (mut out, mut seen, mut run) = (String::new(), Vec::<String>::new(), String::new());
    for c in text.chars().chain(['\n']) {
        if c.is_ascii_hexdigit() && !c.is_ascii_uppercase() {
            run.push(c);
            continue;
        }
        if run.len() == 32 {
            let at = seen.iter().position(|one| *one == run).unwrap_or_else(|| {
                seen.push(run.clone());
                seen.len() - 1
            });
            out.push_str(&format!("#{at}"));
        } else {
            out.push_str(&run);
        }
        run.clear();
        out.push(c);
    }
    out
}

impl<P: Pace> Bench for Account<P> {
    async fn new(scene: Scene) -> Self {
        let mut world = World::new().await;
        world.account.state().pace = P::PACE;
        if scene == Scene::Second {
            world.update().await;
            world.next("v2");
            world.service().settings.insert("arguments".into(), json!([{"name": "age", "type": "FLOAT"}]));
        }
        world.account.state().effects.clear();
        let bench = Self(world, PhantomData);
        bench.forget();
        bench
    }

    fn bookmark(&mut self) -> Option<Back<Self>> {
        let (state, images) = (self.0.account.state().clone(), self.0.images.contents().clone());
        let run = self.0.run.again();
        self.forget();
        Some(Box::new(move |bench| {
            *bench.0.account.state() = state.clone();
            *bench.0.images.contents() = images.clone();
            bench.0.run = run.again();
            bench.forget();
        }))
    }

    fn next_run(&mut self) {
        self.0.new_run();
    }

    async fn attempt(&self, step: Step) -> StepResult {
        self.0.attempt(step).await
    }

    fn pass(&self, time: Duration) {
        self.0.run.advance(time);
    }

    fn calls(&self) -> Vec<Seen> {
        seen_by(self.doors(), may_change)
    }

    fn arm(&self, door: usize, after: usize, trouble: Trouble) -> Box<dyn Armed + '_> {
        let server = self.doors()[door];
        server.arm("", after, trouble.into());
        Box::new(server)
    }

    fn left(&self) -> Value {
        Value::String(numbered(&format!("{:#}", self.0.account.snapshot())))
    }

    fn effects(&self) -> Vec<String> {
        let text = numbered(&self.0.account.effects().join("\u{1}"));
        text.split('\u{1}').map(str::to_owned).collect()
    }

    fn own_codes(&self, trouble: Trouble) -> &'static [&'static str] {
        if trouble == Trouble::Unprocessable { &["SNOWFLAKE_SQL_FAILED"] } else { &[] }
    }

    /// Sending to a registry goes on where it was cut. By its end being refused a statement has failed; the stand-in has done it all the same, so it is found to be done.
    fn looks_again(&self, call: &Seen) -> bool {
        let noted = self.0.run.notes.lock().unwrap().get("unseen").is_some_and(|note| !note.is_null());
        noted && !call.changes
    }

    fn gets_over(&self, _: Step, trouble: Trouble, call: &Seen, _: &[String]) -> bool {
        let of_end = call.door == 0 && call.what.starts_with("GET /api/v2/statements/");
        if trouble == Trouble::Unprocessable {
            of_end && P::PACE == account::Pace::AnswersLater
        } else {
            call.door == 1
        }
    }

    /// Or it is done once more.
    fn forgive(&self, step: Step, trouble: Trouble, call: &Seen, _: &mut Value, effects: &mut Vec<String>) {
        if call.door == 0 && self.gets_over(step, trouble, call, &[]) {
            effects.clear();
        }
    }
}
