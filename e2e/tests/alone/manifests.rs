//! Manifests are taken and refused alike by the API server and by what reads them without one.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use futures::{StreamExt, stream};
use http::Request;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};
use taskqueue_api::manifest::{admit, read};
use taskqueue_e2e::alone::ApiServer;

use crate::{sources, table, values, verdicts};

/// As kubectl asks by default, without keeping the object.
const TRY: &str =
    "/apis/taskqueue.dev/v1alpha1/namespaces/shop/taskqueues?dryRun=All&fieldValidation=Strict";
/// How many requests are under way at once.
const AT_ONCE: usize = 8;

/// Why the API server refuses an object, if it does.
async fn refusal(client: &Client, object: &Value) -> Option<String> {
    let request = Request::post(TRY).header("Content-Type", "application/json");
    let request = request.body(object.to_string().into_bytes()).unwrap();
    match client.request::<Value>(request).await {
        Ok(_) => None,
        Err(kube::Error::Api(status)) if [400, 422].contains(&status.code) => Some(status.message),
        Err(error) => panic!("{object}: {error}"),
    }
}

/// An object with whole numbers where `5.0` stood: Go writes no other.
fn as_kubectl_sends(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let sent = fields
                .iter()
                .map(|(name, it)| (name.clone(), as_kubectl_sends(it)));
            Value::Object(sent.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(as_kubectl_sends).collect()),
        Value::Number(number) if number.is_f64() => {
            let text = number.to_string();
            let whole = text
                .strip_suffix(".0")
                .and_then(|whole| whole.parse::<i64>().ok());
            whole.map_or_else(|| value.clone(), Value::from)
        }
        other => other.clone(),
    }
}

/// Of these objects, those on which the two differ, with what each says.
async fn differences(client: &Client, objects: Vec<Value>) -> Vec<String> {
    let looks = stream::iter(objects).map(async |object| {
        let there = refusal(client, &as_kubectl_sends(&object)).await;
        let here = admit(object.clone()).err().map(|it| it.to_string());
        let text: String = object.to_string().chars().take(600).collect();
        (here.is_some() != there.is_some())
            .then(|| format!("{text}\n  here: {here:?}\n  there: {there:?}"))
    });
    let found: Vec<_> = looks.buffer_unordered(AT_ONCE).collect().await;
    found.into_iter().flatten().collect()
}

#[tokio::test]
async fn the_api_server_and_the_local_reader_agree() {
    let server = ApiServer::start().await;
    let client = server.client().await;
    let shop: Namespace = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .create(&PostParams::default(), &shop)
        .await
        .unwrap();

    let mut rows = table::rows();
    rows.extend(sources::rows());
    let mut count = 0;
    for row in rows {
        for edits in row.accepts.iter().chain(&row.refuses) {
            let object = table::manifest(edits);
            let there = refusal(&client, &object).await.unwrap_or_default();
            let here = admit(object.clone())
                .err()
                .map(|it| it.to_string())
                .unwrap_or_default();
            assert_eq!(
                (here.is_empty(), here.contains(row.message)),
                (there.is_empty(), there.contains(row.message)),
                "{object}\n  here: {here}\n  there: {there}"
            );
            count += 1;
        }
    }
    println!("{count} manifests of the rules agree");

    let schema = serde_json::to_value(taskqueue_api::definition()).unwrap();
    let mut fields = Vec::new();
    let root = &schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    values::pointers(root, "/spec", &mut fields);
    let mut objects = Vec::new();
    for field in fields {
        for value in values::values() {
            let mut object = table::manifest(&[]);
            values::set(&mut object, &field, value);
            objects.push(object);
        }
    }
    let count = objects.len();
    let found = differences(&client, objects).await;
    assert!(
        found.is_empty(),
        "{} of {count} differ:\n{}",
        found.len(),
        found.join("\n")
    );
    println!("{count} manifests with an odd value agree");
}

/// As a user would: the text goes through kubectl.
#[tokio::test]
async fn kubectl_and_the_local_reader_agree_on_yaml() {
    let server = ApiServer::start().await;
    let specs = verdicts::SPECS
        .iter()
        .map(|(spec, told)| (verdicts::manifest(spec), told));
    let whole = verdicts::WHOLE
        .iter()
        .map(|(text, told)| ((*text).to_owned(), told));
    for (text, told) in specs.chain(whole) {
        let there = kubectl_create(&server, &text);
        let here = read(&text).err().map(|it| it.to_string());
        assert_eq!(here.is_some(), told.is_some(), "{text}: {here:?}");
        assert_eq!(
            here.is_some(),
            there.is_some(),
            "{text}  here: {here:?}\n  there: {there:?}"
        );
    }
}

/// Why kubectl or the API server refuses a text, if they do.
fn kubectl_create(server: &ApiServer, text: &str) -> Option<String> {
    let mut kubectl = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(server.kubeconfig())
        .args(["create", "--dry-run=server", "-n", "default", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl is in PATH: hack/tools/build kubectl makes it");
    kubectl
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = kubectl.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!told.contains("connection refused"), "{told}");
    (!output.status.success()).then_some(told)
}
