//! The mock API server: a list of calls in their order, each checked and answered.

use std::{fmt, time::Duration};

use http::{Method, Request, Response, StatusCode};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};
use tower_test::mock::{Handle, pair};

type ServerHandle = Handle<Request<Body>, Response<Body>>;

/// A call that must come, and its answer.
pub(crate) struct Call {
    method: Method,
    path: String,
    manager: Option<&'static str>,
    forced: bool,
    check: Box<dyn Fn(&Value) + Send>,
    code: u16,
    answer: Answer,
    after: Duration,
}

enum Answer {
    Body(Value),
    /// What was sent, with a generation and a uid, as the API server would return an object.
    Echo,
    /// None, while the connection stays open.
    Silence,
}

impl Call {
    fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            manager: None,
            forced: false,
            check: Box::new(|_| {}),
            code: 200,
            answer: Answer::Echo,
            after: Duration::ZERO,
        }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub(crate) fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    pub(crate) fn patch(path: impl Into<String>) -> Self {
        Self::new(Method::PATCH, path)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// A server-side apply by this field manager, with force.
    pub(crate) fn apply(path: impl Into<String>, manager: &'static str) -> Self {
        Self {
            manager: Some(manager),
            forced: true,
            ..Self::new(Method::PATCH, path)
        }
    }

    /// The same without force, of an object that was not there.
    pub(crate) fn make(path: impl Into<String>, manager: &'static str) -> Self {
        Self {
            forced: false,
            ..Self::apply(path, manager)
        }
    }

    /// Checks the body.
    pub(crate) fn checked(self, check: impl Fn(&Value) + Send + 'static) -> Self {
        Self {
            check: Box::new(check),
            ..self
        }
    }

    pub(crate) fn answer(self, body: Value) -> Self {
        Self {
            answer: Answer::Body(body),
            ..self
        }
    }

    /// Refuses with a Status.
    pub(crate) fn refuse(self, code: u16, message: &str) -> Self {
        let reason = match code {
            404 => "NotFound",
            409 => "Conflict",
            422 => "Invalid",
            _ => "InternalError",
        };
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure",
            "message": message, "reason": reason, "code": code
        });
        Self { code, ..self }.answer(status)
    }

    pub(crate) fn not_found(self) -> Self {
        self.refuse(404, "not found")
    }

    pub(crate) fn silent(self) -> Self {
        Self {
            answer: Answer::Silence,
            ..self
        }
    }

    /// Answers only after this time.
    pub(crate) fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    async fn meet(self, request: Request<Body>) -> Option<Response<Body>> {
        let (parts, body) = request.into_parts();
        let came = format!("{} {}", parts.method, parts.uri);
        assert_eq!(parts.method, self.method, "{came} instead of {self}");
        assert_eq!(parts.uri.path(), self.path, "{came} instead of {self}");
        let query = parts.uri.query().unwrap_or_default();
        if let Some(manager) = self.manager {
            assert!(query.contains(&format!("fieldManager={manager}")), "{came}");
            assert_eq!(query.contains("force=true"), self.forced, "{came}");
            let kind = &parts.headers[http::header::CONTENT_TYPE];
            assert_eq!(kind, "application/apply-patch+yaml", "{came}");
        }
        let body = body.collect_bytes().await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        (self.check)(&body);
        sleep(self.after).await;
        let answer = match self.answer {
            Answer::Body(answer) => answer,
            Answer::Echo => {
                let mut echo = body;
                echo["metadata"]["generation"] = json!(1);
                if echo["metadata"]["uid"].is_null() {
                    let kind = echo["kind"].as_str().unwrap_or_default();
                    echo["metadata"]["uid"] = json!(kind.to_lowercase());
                }
                echo
            }
            Answer::Silence => return None,
        };
        let mut response = Response::new(Body::from(serde_json::to_vec(&answer).unwrap()));
        *response.status_mut() = StatusCode::from_u16(self.code).unwrap();
        Some(response)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.method, self.path)
    }
}

/// A client, and the server that plays these calls until every client is gone.
pub(crate) fn playing(calls: Vec<Call>) -> (Client, Played) {
    let (service, handle) = pair();
    let client = Client::new(service, "default");
    (client, Played(tokio::spawn(play(handle, calls))))
}

async fn play(mut handle: ServerHandle, calls: Vec<Call>) {
    // An unanswered call is held: to drop it would be an answer of its own.
    let mut unanswered = Vec::new();
    for call in calls {
        let Some((request, sender)) = handle.next_request().await else {
            panic!("{call} did not come");
        };
        match call.meet(request).await {
            Some(response) => sender.send_response(response),
            None => unanswered.push(sender),
        }
    }
    if let Some((request, _)) = handle.next_request().await {
        panic!("one call too many: {} {}", request.method(), request.uri());
    }
}

/// The end of a scenario.
pub(crate) struct Played(JoinHandle<()>);

impl Played {
    /// Fails when the calls were not those of the scenario. Every client must have been dropped.
    pub(crate) async fn end(self) {
        let ended = tokio::time::timeout(Duration::from_secs(10), self.0).await;
        match ended.expect("a client is still alive") {
            Ok(()) => {}
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }
}
