//! Connections that are lost in the middle of a commit: whether it was made is read back, never guessed.

use serde_json::json;
use tests::{
    Fleet, Size,
    cut::{Cut, Proxy},
    in_time,
    postgres::Postgres,
};

use super::Scene;

const CUTS: [Cut; 2] = [Cut::Before, Cut::After];

/// A proxy before a fresh database, its URL, and that of the database itself.
async fn proxy() -> (Proxy, String, String) {
    let url = Postgres::shared().await.database().await;
    let (before, rest) = url.split_once("127.0.0.1:").unwrap();
    let (port, rest) = rest.split_once('/').unwrap();
    let proxy = Proxy::new(port.parse().unwrap()).await;
    let behind = format!("{before}127.0.0.1:{}/{rest}", proxy.port());
    (proxy, behind, url)
}

/// A claim, a step's end, the update's end: each cut on both sides.
#[tokio::test(flavor = "multi_thread")]
async fn of_the_journal() {
    let names = ["claimed-0", "claimed-1", "noted-0", "noted-1", "step-0", "step-1", "finished-0", "finished-1"];
    let (proxy, url, _) = proxy().await;
    let scene = Scene::new(Fleet::of(Size::Fleet).set("SLIPWAY_DATABASE_URL", url), &names).await;
    for (kind, what) in [
        ("\"Claimed\"", "claimed"),
        ("\"StepNoted\"", "noted"),
        ("\"StepSucceeded\"", "step"),
        ("\"Finished\"", "finished"),
    ] {
        for (number, cut) in CUTS.into_iter().enumerate() {
            let name = format!("{what}-{number}");
            proxy.arm(kind, cut);
            let update = scene.fleet.client.start(&name).await;
            in_time("a cut", proxy.has_cut()).await;
            scene.ends_once(&update, &name.to_uppercase()).await;
        }
    }
}

/// A mutation fails clearly, and the same one again, by its idempotency key, is made once.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_mutation() {
    let (proxy, behind, url) = proxy().await;
    let builder = Fleet::of(Size::Fleet).workers(0).set("SLIPWAY_DATABASE_URL", behind);
    let mut scene = Scene::new(builder, &["before", "after"]).await;
    // The API alone is behind the proxy: the commit that is cut is the mutation's.
    scene.fleet.set("SLIPWAY_DATABASE_URL", url);
    scene.fleet.start_worker().await;
    for (name, cut) in ["before", "after"].into_iter().zip(CUTS) {
        let start = format!(
            "mutation {{ startUpdate(deploymentId: \"{name}\", idempotencyKey: \"one\") {{ update {{ id number }} refusals {{ code }} }} }}"
        );
        let all = format!("{{ deployment(id: \"{name}\") {{ updates {{ nodes {{ id }} }} }} }}");
        let made = async || {
            let found = scene.fleet.client.ask(&all, json!({})).await;
            found["updates"]["nodes"].as_array().unwrap().len()
        };
        proxy.arm("COMMIT\0", cut);
        scene.fails_clearly(&start).await;
        assert!(!proxy.is_armed());
        assert_eq!(made().await, usize::from(cut == Cut::After));
        let again = scene.fleet.client.ask(&start, json!({})).await;
        assert_eq!(again["update"]["number"], 1, "{again:#}");
        scene.ends_once(again["update"]["id"].as_str().unwrap(), &name.to_uppercase()).await;
        assert_eq!(made().await, 1);
    }
}
