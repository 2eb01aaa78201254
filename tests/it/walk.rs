//! The whole walk, in both sizes, as a client walks it: mutations, events by subscription, and at the end the node, field by field.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod ends;
pub(crate) mod node;
mod waits;

use std::fs;

use sandbox::{BundleSpec, Fault, FaultKind, RunningNode, SampleScenario, When, sample_bundle};
use serde_json::{Value, json};
use tests::{
    Client, Fleet, Size, in_time, practice,
    requests::{EVENT, LINE, REFUSALS, quoted, step},
};

use self::node::{call, expected};

#[tokio::test(flavor = "multi_thread")]
async fn embedded() {
    walk(Size::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fleet() {
    walk(Size::Fleet).await;
}

async fn walk(size: Size) {
    let fleet = Fleet::of(size).start().await;
    let node = practice::node().await;
    node.set_user("analyst", &[], false);
    let walk = Walk { api: fleet.client.clone(), said: fleet.scratch().at("said"), node };
    walk.set_up().await;
    walk.previews().await;
    let first = walk.first_update().await;
    walk.followed_to_the_end(&first).await;
    walk.hooks_ran(&first);
    walk.hidden_from(&fleet.user("outsider", &[]), &first).await;
    walk.second_update().await;
    walk.other_key_on_the_node().await;
}

struct Walk {
    api: Client,
    node: RunningNode,
    /// Where hooks write what they were told.
    said: String,
}

/// What the deployment says of local variables.
fn local() -> Value {
    json!({"region": "eu", "deep": {"list": [1, 2.5, null, "größer"]}})
}

impl Walk {
    async fn set_up(&self) {
        let settings = json!({"permissionsPropagation": "LIMITED", "onFailure": "LEAVE"});
        self.api.infrastructure("production", &self.node, settings).await;
        let checked = self
            .api
            .tell(
                "checkInfrastructure(id: \"production\")",
                "report { identity isAdmin nodeId nodeType version problems } failure { code }",
            )
            .await;
        let report = json!({
            "identity": "api:admin-1", "isAdmin": true, "nodeId": "practice", "nodeType": "AUTOMATION", "version": "14.2.0", "problems": [],
        });
        assert_eq!((&checked["report"], &checked["failure"]), (&report, &Value::Null));

        let told = |when: &str| {
            format!(
                "import json, sys\n\
                 def execute(requesting_user, deploying_user, deployment_id, deployment_report, deployed_project_key, idempotency_key, attempt, **kwargs):\n\
                 \x20   told = dict(when='{when}', requesting_user=requesting_user, deploying_user=deploying_user, deployment_id=deployment_id,\n\
                 \x20       deployment_report=deployment_report, deployed_project_key=deployed_project_key, key=idempotency_key, attempt=attempt)\n\
                 \x20   with open({path}, 'a') as out:\n\
                 \x20       out.write(json.dumps(told) + '\\n')\n\
                 \x20   print('{when}', deployment_id)\n\
                 \x20   print('aside', file=sys.stderr)\n\
                 \x20   return HookResult.success('told')\n",
                path = quoted(&self.said),
            )
        };
        let off = "raise RuntimeError('a hook that is switched off')";
        let pre = json!([{"name": "first", "code": told("before")}, {"name": "off", "code": off, "enabled": false}]);
        self.api.set_hooks("production", "PRE", pre).await;
        self.api.set_hooks("production", "POST", json!([{"name": "last", "code": told("after")}])).await;

        let v1 = sample_bundle(&BundleSpec::new("CHURN", "v1"));
        let uploaded = self.api.upload(v1.clone()).await;
        assert_eq!(uploaded["createdProject"], true);
        assert_eq!((&uploaded["projectKey"], &uploaded["bundleId"]), (&json!("CHURN"), &json!("v1")));
        assert_eq!(uploaded["size"], v1.len());

        let settings = json!({
            "scenarios": [{"id": "DAILY", "on": true}, {"id": "CHECKS", "on": false}], "localVariables": local(),
        });
        self.api.deployment("churn", "production", ("CHURN", "v1"), "CHURN", settings).await;
        // The deployment has a copy of the remappings: the infrastructure's go their own way.
        let other = json!({"connectionRemapping": [{"source": "sql-dev", "target": "elsewhere"}]});
        self.api.change_infrastructure("production", other).await;
        let remapping = "settings { connectionRemapping { source target } localVariables }";
        let kept = self.api.ask(&format!("{{ deployment(id: \"churn\") {{ {remapping} }} }}"), json!({})).await;
        let wanted = json!([
            {"source": "sql-dev", "target": "sql-prod"}, {"source": "files-dev", "target": "files-prod"},
        ]);
        assert_eq!(kept["settings"], json!({"connectionRemapping": wanted, "localVariables": local()}));
        // It stays so, but new deployments of this test want the first ones.
        self.api.change_infrastructure("production", json!({"connectionRemapping": wanted})).await;
    }

    /// A preview tells what an update would do, and touches nothing.
    async fn previews(&self) {
        self.node.clear_calls();
        let before = self.node.snapshot();
        let fields = "actingUser failure { code } hooks { pre post } hookNames { name step } found { activeBundle bundle createsProject
            connections { source target wantedType foundType } scenarios { what found wanted } runAs { what found wanted } problems { code message } }";
        let answer = self
            .api
            .ask(
                &format!("{{ previewUpdate(deploymentId: \"churn\") {{ preview {{ {fields} }} {REFUSALS} }} }}"),
                json!({}),
            )
            .await;
        assert_eq!(answer["refusals"], json!([]));
        let run_as = |what: &str| json!({"what": what, "found": null, "wanted": "runner"});
        let wanted = json!({
            "actingUser": "deployer", "failure": null, "hooks": {"pre": 1, "post": 1},
            "hookNames": [{"name": "first", "step": "pre_hooks/1"}, {"name": "last", "step": "post_hooks/1"}],
            "found": {
                "activeBundle": null, "bundle": "v1", "createsProject": true,
                "connections": [
                    {"source": "sql-dev", "target": "sql-prod", "wantedType": "PostgreSQL", "foundType": "PostgreSQL"},
                    {"source": "files-dev", "target": "files-prod", "wantedType": "Filesystem", "foundType": "Filesystem"},
                ],
                "scenarios": [{"what": "scenario DAILY", "found": null, "wanted": true}],
                "runAs": [run_as("scenario DAILY"), run_as("scenario WEEKLY"), run_as("scenario CHECKS"), run_as("web app app")],
                "problems": [],
            },
        });
        assert_eq!(answer["preview"], wanted);
        let calls = self.node.calls();
        assert!(!calls.is_empty() && calls.iter().all(|call| call.method == "GET"), "{calls:#?}");
        assert_eq!(self.node.snapshot(), before);
    }

    /// Asks twice with one key, follows the first half, breaks off, and goes on elsewhere.
    async fn first_update(&self) -> String {
        let activation = "/projects/CHURN/bundles/imported/v1/actions/activate";
        let held = self.node.arm(Fault::on("POST", activation, FaultKind::Hold { when: When::Before })).unwrap();
        let start = "startUpdate(deploymentId: \"churn\", idempotencyKey: \"build 17\")";
        let first = self.api.tell(start, "update { id number } repeated").await;
        let again = self.api.tell(start, "update { id number } repeated").await;
        assert_eq!((&first["repeated"], &again["repeated"]), (&json!(false), &json!(true)));
        assert_eq!(first["update"], again["update"]);
        let id = first["update"]["id"].as_str().unwrap().to_owned();

        let follow = |after: i64| {
            format!("subscription {{ updateEvents(updateId: \"{id}\", afterSeq: {after}) {{ {EVENT} }} }}")
        };
        let mut heard = Vec::new();
        let mut events = self.api.subscribe(&follow(0)).await;
        while heard.last().is_none_or(|event: &Value| event["stepName"] != "activate") {
            heard.push(events.next().await.expect("the update goes on"));
        }
        drop(events);
        in_time("an activation", held.reached()).await;
        assert_eq!(self.api.update(&id).await["status"], "RUNNING");
        let mut socket = self.api.socket().await;
        let seen = heard.last().unwrap()["seq"].as_i64().unwrap();
        held.release();
        heard.extend(socket.all("1", &follow(seen)).await);

        // The same over either way, from the start: no gap, no repeat.
        let seqs: Vec<i64> = heard.iter().map(|event| event["seq"].as_i64().unwrap()).collect();
        assert_eq!(seqs, (1..=seqs.len() as i64).collect::<Vec<_>>());
        assert_eq!(socket.all("2", &follow(0)).await, heard);
        assert_eq!(self.api.journal(&id).await, heard);
        let mut events = self.api.subscribe(&follow(seen)).await;
        for event in heard.iter().filter(|event| event["seq"].as_i64() > Some(seen)) {
            assert_eq!(events.next().await.as_ref(), Some(event));
        }
        assert_eq!(events.next().await, None);

        let of = |kind: &str| -> Vec<String> {
            let all = heard.iter().filter(|event| event["kind"] == kind);
            all.map(|event| event["stepName"].as_str().unwrap_or_default().to_owned()).collect()
        };
        let steps = [
            "check_policy",
            "pre_hooks/1",
            "validate_remap",
            "push_bundle",
            "activate",
            "enforce_run_as",
            "verify",
            "post_hooks/1",
        ];
        assert_eq!(of("StepSucceeded"), steps);
        assert_eq!(of("StepStarted"), steps);
        assert_eq!(of("SlotGranted"), ["pre_hooks/1", "post_hooks/1"]);
        assert_eq!((&heard[0]["kind"], &heard[0]["by"]), (&json!("Requested"), &json!("admin")));
        let last = heard.last().unwrap();
        assert_eq!((&last["kind"], &last["status"]), (&json!("Finished"), &json!("SUCCEEDED")));
        id
    }

    /// Its log, its receipt, and the node.
    async fn followed_to_the_end(&self, id: &str) {
        let follow = format!("subscription {{ updateLog(updateId: \"{id}\") {{ {LINE} }} }}");
        let mut log = self.api.subscribe(&follow).await;
        let mut heard = Vec::new();
        while let Some(line) = log.next().await {
            heard.push(line);
        }
        assert_eq!(self.api.lines(id).await, heard);
        let said = |stream: &str| -> Vec<&str> {
            heard.iter().filter(|line| line["stream"] == stream).map(|line| line["line"].as_str().unwrap()).collect()
        };
        assert_eq!(said("STDOUT"), ["before churn", "after churn"]);
        assert_eq!(said("STDERR"), ["aside", "aside"]);
        assert!(heard.iter().all(|line| line["adminsOnly"] == false), "{heard:#?}");

        let update = self.api.over(id).await;
        assert_eq!(update["status"], "SUCCEEDED");
        assert_eq!((&update["requester"], &update["actingUser"]), (&json!("admin"), &json!("deployer")));
        assert_eq!(step(&update, "pre_hooks/1")["hookName"], "first");
        let spec = BundleSpec::new("CHURN", "v1");
        let wanted = expected(&spec, |project| {
            project["variables"]["local"] = local();
            project["scenarios"]["DAILY"]["active"] = json!(true);
            project["scenarios"]["DAILY"]["definition"]["active"] = json!(true);
            // Never in a window under the bundle's own run-as user, the designer.
            project["scenarios"]["DAILY"]["armedAs"] = json!(["runner"]);
        });
        assert_eq!(self.node.snapshot()["projects"]["CHURN"], wanted.await);
        assert_eq!(self.node.snapshot()["codeEnvs"], json!(["py_sample"]));
        self.receipt_is_true(&update, "CHURN");
    }

    /// The receipt says what is on the node.
    fn receipt_is_true(&self, update: &Value, key: &str) {
        let project = &self.node.snapshot()["projects"][key];
        let receipt = &update["receipt"];
        assert_eq!((&receipt["projectKey"], &receipt["bundle"]), (&json!(key), &project["activeBundle"]));
        let items = |list: &str, active: &dyn Fn(&Value) -> bool| -> Value {
            let all = project[list].as_object().unwrap().iter();
            all.map(|(id, one)| json!({"id": id, "runAs": one["runAs"], "active": active(one)})).collect()
        };
        assert_eq!(receipt["scenarios"], items("scenarios", &|one| one["active"] == true));
        assert_eq!(receipt["webapps"], items("webapps", &|one| one["backend"]["alive"] == true));
        assert_eq!(receipt["differences"], json!([]));
        let remapping = &project["settings"]["bundleContainerSettings"]["remapping"]["connections"];
        for connection in receipt["connections"].as_array().unwrap() {
            let entry = remapping.as_array().unwrap().iter().find(|entry| entry["source"] == connection["source"]);
            assert_eq!(connection["target"], entry.unwrap()["target"]);
            assert_eq!(connection["wantedType"], connection["foundType"]);
        }
        assert_eq!(receipt["connections"].as_array().unwrap().len(), 2);
    }

    fn hooks_ran(&self, id: &str) {
        let said = fs::read_to_string(&self.said).unwrap();
        let said: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [before, after] = &said[..] else { panic!("{said:#?}") };
        let told = |when: &str, report: Value, key: &Value| {
            json!({
                "when": when, "requesting_user": "admin", "deploying_user": "deployer", "deployment_id": "churn",
                "deployment_report": report, "deployed_project_key": "CHURN", "key": key, "attempt": 1,
            })
        };
        assert_eq!(*before, told("before", Value::Null, &before["key"]));
        assert_eq!(*after, told("after", json!({"status": "SUCCESS", "messages": []}), &after["key"]));
        let (before, after) = (before["key"].as_str().unwrap(), after["key"].as_str().unwrap());
        assert!(before != after && before.contains(id) && after.contains(id), "{before} {after}");
    }

    /// Who may not see it gets the same bytes as for what never was.
    async fn hidden_from(&self, outsider: &Client, id: &str) {
        let never = "9007199254740";
        let pairs = [
            (format!("{{ update(id: \"{id}\") {{ id }} }}"), format!("{{ update(id: \"{never}\") {{ id }} }}")),
            ("{ deployment(id: \"churn\") { id } }".to_owned(), "{ deployment(id: \"never\") { id } }".to_owned()),
            (
                "{ infrastructure(id: \"production\") { id } }".to_owned(),
                "{ infrastructure(id: \"never\") { id } }".to_owned(),
            ),
            (
                format!("mutation {{ startUpdate(deploymentId: \"churn\") {{ {REFUSALS} }} }}"),
                format!("mutation {{ startUpdate(deploymentId: \"never\") {{ {REFUSALS} }} }}"),
            ),
            (
                format!("mutation {{ cancelUpdate(id: \"{id}\") {{ {REFUSALS} }} }}"),
                format!("mutation {{ cancelUpdate(id: \"{never}\") {{ {REFUSALS} }} }}"),
            ),
        ];
        for (hidden, absent) in pairs {
            let hidden = outsider.raw(&hidden, json!({})).await.unwrap();
            assert_eq!(hidden, outsider.raw(&absent, json!({})).await.unwrap());
            assert!(!hidden.1.to_string().contains("churn"), "{}", hidden.1);
        }
        let lists = "{ updates { nodes { id } } deployments { nodes { id } } infrastructures { nodes { id } } publishedProjects { nodes { key } } }";
        let lists = outsider.graphql(lists, json!({})).await;
        assert!(lists.as_object().unwrap().values().all(|list| list["nodes"] == json!([])), "{lists:#}");
        let follow = |id: &str| format!("subscription {{ updateEvents(updateId: \"{id}\") {{ seq }} }}");
        let hidden = node::stream(outsider, &follow(id)).await;
        assert_eq!(hidden, node::stream(outsider, &follow(never)).await);
        assert!(hidden.contains("NOT_FOUND"), "{hidden}");
    }

    /// Another bundle, on a node that people have worked on meanwhile: what is not ours stays.
    async fn second_update(&self) {
        let (node, url) = (&self.node, self.node.url());
        let path = |rest: &str| format!("{url}/public/api/projects/CHURN/{rest}");
        // Switched on by hand; the deployment leaves WEEKLY alone.
        call("PUT", &path("scenarios/WEEKLY/light"), None, json!({"active": true})).await;
        call("PUT", &path("scenarios/CHECKS/light"), None, json!({"active": true})).await;
        let made =
            json!({"id": "LOCAL", "name": "Made here", "type": "step_based", "active": false, "ours": {"kept": [1]}});
        call("POST", &path("scenarios/"), Some("deployer"), made).await;
        let mut settings = call("GET", &path("settings"), None, Value::Null).await;
        let container = &mut settings["bundleContainerSettings"];
        container["codeEnvsBehavior"] = json!({"importTimeMode": "INSTALL_IF_MISS", "more": 0.1});
        container["remapping"]["codeEnvs"] = json!([{"source": "a", "target": "b", "note": "kept"}]);
        container["remapping"]["connections"][0]["note"] = json!("kept");
        settings["byHand"] = json!({"serial": 9_007_199_254_740_993_i64});
        call("PUT", &path("settings"), None, settings.clone()).await;
        let mut permissions = call("GET", &path("permissions"), None, Value::Null).await;
        permissions["permissions"] = json!([{"group": "runners", "readProjectContent": true}]);
        call("PUT", &path("permissions"), None, permissions.clone()).await;
        call("PUT", &path("variables/"), None, json!({"standard": {}, "local": {"region": "by hand"}})).await;
        let local_scenario = node.snapshot()["projects"]["CHURN"]["scenarios"]["LOCAL"].clone();

        let spec = v2();
        self.api.bundle(&spec).await;
        self.api.change_deployment("churn", json!({"bundleId": "v2"})).await;
        let update = self.api.over(&self.api.start("churn").await).await;
        assert_eq!(update["status"], "SUCCEEDED", "{update:#}");
        assert_eq!(update["number"], 2);
        let first = node.snapshot()["projects"]["CHURN"]["bundles"][0].clone();
        assert_eq!(first["bundleId"], "v1");
        let wanted = expected(&spec, |project| {
            project["variables"]["local"] = local();
            project["settings"] = settings;
            project["permissions"] = permissions["permissions"].clone();
            project["bundles"].as_array_mut().unwrap().insert(0, first);
            for on in ["DAILY", "WEEKLY"] {
                project["scenarios"][on]["active"] = json!(true);
                project["scenarios"][on]["definition"]["active"] = json!(true);
                project["scenarios"][on]["armedAs"] = json!(["runner"]);
            }
            // Somebody switched it on for a while; the deployment says off.
            project["scenarios"]["CHECKS"]["armedAs"] = json!(["runner"]);
            let mut made = local_scenario;
            made["definition"]["runAsUser"] = json!("runner");
            made["definition"]["versionTag"]["lastModifiedBy"]["login"] = json!("api:admin-1");
            made["runAs"] = json!("runner");
            project["scenarios"]["LOCAL"] = made;
        });
        assert_eq!(node.snapshot()["projects"]["CHURN"], wanted.await);
        self.receipt_is_true(&update, "CHURN");
        assert_eq!(node::calls_of(node, "importFromStream"), 1);
        assert_eq!(node::calls_of(node, "projectsFromBundle"), 1);
    }

    /// Under another key the node makes an empty project, and we write the permissions: the same end.
    async fn other_key_on_the_node(&self) {
        let settings = json!({"localVariables": local(), "scenarios": [{"id": "DAILY", "on": true}]});
        self.api.deployment("copy", "production", ("CHURN", "v1"), "COPY", settings).await;
        let update = self.api.over(&self.api.start("copy").await).await;
        assert_eq!(update["status"], "SUCCEEDED", "{update:#}");
        let mut wanted = expected(&BundleSpec::new("CHURN", "v1"), |project| {
            project["variables"]["local"] = local();
            project["scenarios"]["DAILY"]["active"] = json!(true);
            project["scenarios"]["DAILY"]["definition"]["active"] = json!(true);
            project["scenarios"]["DAILY"]["armedAs"] = json!(["runner"]);
            project["name"] = json!("COPY");
        })
        .await;
        for list in ["scenarios", "webapps"] {
            for one in wanted[list].as_object_mut().unwrap().values_mut() {
                one["definition"]["projectKey"] = json!("COPY");
            }
        }
        assert_eq!(self.node.snapshot()["projects"]["COPY"], wanted);
        self.receipt_is_true(&update, "COPY");
    }
}

/// The second bundle: other variables, and a scenario that is new and on at the designer's.
fn v2() -> BundleSpec {
    let mut spec = BundleSpec::new("CHURN", "v2");
    spec.variables = json!({"threshold": 0.9});
    spec.scenarios.push(SampleScenario {
        id: "NIGHTLY".to_owned(),
        name: "Nightly".to_owned(),
        active: true,
        run_as_user: Some("designer".to_owned()),
        marked_as_test: false,
    });
    spec
}
