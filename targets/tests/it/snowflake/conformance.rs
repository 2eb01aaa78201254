//! Whatever goes wrong with whichever call: the right class of outcome, and every effect once.

use std::time::Duration;

use engine::failure::{StepError, StepOutcome, StepResult};
use serde_json::json;
use targets::Targets;

use super::{
    account::Pace,
    wire::{Fault, Kind},
    world::{STEPS, Step, World, targets},
};

/// What is done, and where it starts from.
#[derive(Clone, Copy, Debug)]
enum Scene {
    First,
    Second,
    Off,
    On,
    Gone,
    Back,
}

impl Scene {
    fn steps(self) -> &'static [Step] {
        match self {
            Self::First | Self::Second | Self::On => &STEPS,
            Self::Off => &[Step::SwitchOff],
            Self::Gone => &[Step::Remove],
            Self::Back => &[Step::Restore],
        }
    }

    /// The world right before; its log of calls is empty.
    async fn set(self, pace: Pace, targets: &Targets) -> World {
        let mut world = World::with(targets.clone()).await;
        world.account.state().pace = pace;
        match self {
            Self::First => {}
            Self::Second => {
                world.update().await;
                world.next("v2");
                world.service().settings.insert("arguments".into(), json!([{"name": "age", "type": "FLOAT"}]));
            }
            Self::Off | Self::Gone => {
                world.update().await;
                world.new_run();
            }
            Self::On => {
                world.update().await;
                world.new_run();
                world.step(Step::SwitchOff).await.unwrap();
                world.new_run();
            }
            Self::Back => {
                world.update().await;
                world.next("v2");
                world.update().await;
            }
        }
        world.server.forget();
        world.account.state().effects.clear();
        world
    }

    /// What an undisturbed one leaves, its effects, and how many calls each step needs.
    async fn undisturbed(self, pace: Pace, targets: &Targets) -> (Left, Vec<(Step, usize)>) {
        let world = self.set(pace, targets).await;
        let mut calls = Vec::new();
        for step in self.steps() {
            let before = world.server.asked().len();
            world.step(*step).await.unwrap();
            calls.push((*step, world.server.asked().len() - before));
        }
        (left(&world), calls)
    }
}

/// What there is, and every effect that made it.
#[derive(Debug, PartialEq)]
struct Left {
    there: String,
    effects: String,
}

/// Hashes are numbered: in them is the address of the base image's registry, which is another one each time.
fn left(world: &World) -> Left {
    let text = format!("{:#}\u{1}{:#?}", world.account.snapshot(), world.account.effects());
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
    let (there, effects) = out.split_once('\u{1}').unwrap();
    Left { there: there.to_owned(), effects: effects.to_owned() }
}

/// What must come of a fault at a call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Class {
    Fine,
    Retryable(Option<Duration>),
    Permanent(&'static str),
    Killed,
}

const TABLE: [(Kind, Class); 8] = [
    (Kind::Slow, Class::Fine),
    (Kind::Status(429, Some(7)), Class::Retryable(Some(Duration::from_secs(7)))),
    (Kind::Status(503, None), Class::Retryable(None)),
    (Kind::Status(401, None), Class::Permanent("NODE_KEY_REJECTED")),
    (Kind::Status(422, None), Class::Permanent("")),
    (Kind::Reset, Class::Retryable(None)),
    (Kind::Lost, Class::Retryable(None)),
    (Kind::Held, Class::Killed),
];

async fn scene_under(scene: Scene, pace: Pace) {
    let targets = targets();
    let (wanted, calls) = scene.undisturbed(pace, &targets).await;
    for (kind, class) in TABLE {
        for (at, count) in &calls {
            for nth in 1..=*count {
                let world = scene.set(pace, &targets).await;
                for step in scene.steps().iter().take_while(|step| *step != at) {
                    world.step(*step).await.unwrap();
                }
                let before = world.server.asked().len();
                world.server.arm(Fault { nth, of: "", kind });
                let told = format!("{scene:?} {at:?} call {nth} {kind:?}");
                let hit = until_hit(&world, *at, class == Class::Killed, &told).await;
                assert_eq!(world.server.hits(), 1, "{told}");
                let call = world.server.asked()[before + nth - 1].place();
                // By this answer a statement has failed. The stand-in has done it all the same: so it is found to be done, or done once more.
                let is_false_end = pace == Pace::AnswersLater
                    && kind == Kind::Status(422, None)
                    && call.starts_with("GET /api/v2/statements/");
                match hit {
                    Some(Ok(_)) if is_false_end => {}
                    hit => judge(class, hit, &format!("{told} ({call})")),
                }
                world.server.release();
                let rest = scene.steps().iter().skip_while(|step| *step != at);
                for step in rest {
                    world.step(*step).await.unwrap_or_else(|failure| panic!("{told}: then {step:?}: {failure:?}"));
                }
                let left = left(&world);
                assert_eq!(left.there, wanted.there, "{told} ({call})");
                if !is_false_end {
                    assert_eq!(left.effects, wanted.effects, "{told} ({call})");
                }
            }
        }
    }
}

/// Attempts until the fault has hit: what that attempt came to. None: its worker was killed.
async fn until_hit(world: &World, step: Step, is_killed: bool, told: &str) -> Option<StepResult> {
    loop {
        let hits = world.server.hits();
        assert_eq!(hits, 0, "{told}");
        let outcome = tokio::select! {
            outcome = world.attempt(step) => outcome,
            // The worker dies here: after the effect, before it could write anything down.
            () = world.server.hit(), if is_killed => return None,
        };
        if world.server.hits() == 0 {
            if let Ok(StepOutcome::NotYet { check_in }) = &outcome {
                world.run.advance(*check_in);
                continue;
            }
            panic!("{told}: {outcome:?} before the fault");
        }
        return Some(outcome);
    }
}

fn judge(class: Class, outcome: Option<StepResult>, told: &str) {
    match (class, outcome) {
        (Class::Fine, Some(Ok(_))) | (Class::Killed, None) => {}
        (Class::Retryable(wanted), Some(Err(StepError::Retryable { retry_after, .. }))) if wanted == retry_after => {}
        (Class::Permanent(code), Some(Err(StepError::Permanent(failure)))) => {
            assert!(code.is_empty() || failure.code.as_str() == code, "{told}: {failure:?}");
        }
        (_, outcome) => panic!("{told}: {outcome:?}"),
    }
}

macro_rules! scenes {
    ($($name:ident: $scene:ident $pace:ident,)*) => {
        $(#[tokio::test]
        async fn $name() {
            scene_under(Scene::$scene, Pace::$pace).await;
        })*
    };
}

scenes! {
    a_first_update: First Now,
    a_second_update: Second Now,
    switching_off: Off Now,
    switching_on: On Now,
    removing: Gone Now,
    restoring: Back Now,
    a_first_update_whose_answers_come_later: First AnswersLater,
    a_second_update_whose_answers_come_later: Second AnswersLater,
    switching_off_whose_answers_come_later: Off AnswersLater,
    switching_on_whose_answers_come_later: On AnswersLater,
    removing_whose_answers_come_later: Gone AnswersLater,
    restoring_whose_answers_come_later: Back AnswersLater,
    // Only those with several statements in a row differ here.
    a_second_update_whose_effects_come_later: Second EffectsLater,
    removing_whose_effects_come_later: Gone EffectsLater,
    restoring_whose_effects_come_later: Back EffectsLater,
}
