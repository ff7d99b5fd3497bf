//! Digital tasks in a whole gateway: over the control API, by voice, over stops and crashes, with real servers of tools.
//! Numbers in comments are those of OpenCane's faults that a test holds out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed expectation is a failed test")]

mod gateway;

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use voxgate::admin::{Admin, NewOperator, Role as Rank};
use voxgate::domain::{ControlKind, Downlink, Hello, Message, Span};
use voxgate::provider::{ChatModel, ChatPiece, ChatRequest, ChatStream, Role, ToolCall};
use voxgate::sim::device::Device;
use voxgate::tasks::{Mcp, Voice};

use gateway::answer::{Answer, answer, ask};
use gateway::binary::{Binary, wait};
use gateway::http::{Http, Reply};
use gateway::service::chat_service;
use gateway::{PATIENCE, Running, until, with_chat};

/// Works on tasks: calls the tool that the goal names after "call " (else it asks how the device is), and then says what
/// came of it. The first `hangs` requests are never answered. What is no task it answers in words.
#[derive(Default)]
struct Clerk {
    hangs: AtomicUsize,
    asked: Mutex<Vec<ChatRequest>>,
}

impl Clerk {
    fn hanging(times: usize) -> Arc<Self> {
        Arc::new(Self { hangs: AtomicUsize::new(times), ..Self::default() })
    }
}

impl ChatModel for Clerk {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        self.asked.lock().unwrap().push(request.clone());
        if request.tools.is_empty() {
            return futures::stream::iter([Ok("Just talk.".into())]).boxed();
        }
        if self.hangs.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return futures::stream::pending().boxed();
        }
        let told = request.messages.iter().rev().find(|message| message.role == Role::Tool);
        let goal = &request.messages.iter().find(|message| message.role == Role::User).unwrap().content;
        let (name, arguments) = match goal.strip_prefix("call ").and_then(|call| call.split_once(' ')) {
            Some((name, arguments)) => (name.to_owned(), arguments.to_owned()),
            None => ("device_status".to_owned(), "{}".to_owned()),
        };
        let piece = match told {
            None => ChatPiece::Call(ToolCall { id: "1".into(), name, arguments }),
            Some(_) if goal.starts_with("call ") => ChatPiece::Text(told.unwrap().content.clone()),
            Some(_) => ChatPiece::Text("A table for two is booked.".into()),
        };
        futures::stream::iter([Ok(piece)]).boxed()
    }
}

async fn operator(gateway: &Running, name: &str, role: Rank) -> Http {
    let new = NewOperator { name: name.to_owned(), role, password: None };
    let secret = gateway.operators().operator_add(new).await.unwrap().secret.unwrap().0;
    Http { address: gateway.addrs().http.unwrap(), token: Some(format!("{name}.{secret}")) }
}

fn again(gateway: &Running, api: &Http) -> Http {
    Http { address: gateway.addrs().http.unwrap(), ..api.clone() }
}

#[track_caller]
fn refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.code()), (status, code), "{}", reply.text);
}

#[track_caller]
fn done(reply: Reply) -> Value {
    assert_eq!((reply.status, &reply.body["success"]), (200, &json!(true)), "{}", reply.text);
    reply.body
}

/// The task, when it has this status.
async fn becomes(api: &Http, id: &str, status: &str) -> Value {
    let path = format!("/v1/digital-task/{id}");
    api.get_until(&path, |body| body["task"]["status"] == status).await["task"].clone()
}

fn stages(task: &Value) -> Vec<&str> {
    task["steps"].as_array().unwrap().iter().map(|step| step["stage"].as_str().unwrap()).collect()
}

async fn hello(device: &mut Device, boot_id: u32) {
    device.renumber();
    device.control(None, ControlKind::Hello(Hello { boot_id: Some(boot_id), ..Hello::default() })).await.unwrap();
    until(device, |downlink| matches!(downlink, Downlink::Control { message: Message::HelloAck(_), .. })).await;
}

/// The word of a task that has this status, and its number.
async fn told(device: &mut Device, status: &str) -> (Value, u32) {
    let wanted = |downlink: &Downlink| matches!(downlink, Downlink::Control { message: Message::TaskUpdate { task }, .. } if task["status"] == status);
    match until(device, wanted).await {
        Downlink::Control { message: Message::TaskUpdate { task }, seq, want_ack: true, .. } => (task, seq.unwrap()),
        other => panic!("{other:?}"),
    }
}

/// Asks something, and says how many words of tasks came before the answer was over.
async fn words_meanwhile(device: &mut Device) -> usize {
    device.control(None, ControlKind::Text("why is the sky blue".to_owned())).await.unwrap();
    let (mut answer, mut words) = (Answer::default(), 0);
    loop {
        let downlink = device.next(PATIENCE, "answer").await.unwrap().downlink;
        words += usize::from(matches!(&downlink, Downlink::Control { message: Message::TaskUpdate { .. }, .. }));
        if answer.take(downlink) && answer.reply == "Just talk." {
            return words;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_task_is_begun_twice_undone_or_begun_by_who_may_only_look() {
    let gateway = Running::start(with_chat(Arc::new(Clerk::default()))).await;
    let olaf = operator(&gateway, "olaf", Rank::Operator).await;
    let vera = operator(&gateway, "vera", Rank::Viewer).await;
    gateway.add("cane-1", false).await;
    let order = json!({"prompt": "book a table", "task_id": "t1", "device_id": "cane-1", "session_id": "walk"});
    refused(&vera.post("/v1/digital-task/execute", order.clone()).await, 403, "forbidden");
    let begun = done(olaf.post("/v1/digital-task/execute", order.clone()).await);
    assert_eq!((&begun["accepted"], &begun["task"]["requested_by"]), (&json!(true), &json!("olaf")));
    refused(&olaf.post("/v1/digital-task/execute", order.clone()).await, 409, "conflict");
    let task = becomes(&vera, "t1", "success").await;
    assert_eq!(task["result"], json!({"text": "A table for two is booked."}));
    assert_eq!(stages(&task), ["accepted", "running", "tool", "success"]);
    assert_eq!((&task["timeout_seconds"], &task["error"]), (&json!(120), &json!("")));
    refused(&olaf.post("/v1/digital-task/t1/cancel", json!({})).await, 409, "conflict");
    refused(&olaf.post("/v1/digital-task/t2/cancel", json!({})).await, 404, "not_found");
    refused(&olaf.get("/v1/digital-task/t2").await, 404, "not_found");
    for (bad, status, code) in [
        (json!({}), 400, "bad_request"),
        (json!({"goal": " "}), 400, "bad_request"),
        (json!({"goal": "x", "task_id": "a/b"}), 400, "bad_request"),
        (json!({"goal": "x", "timeout_seconds": 0}), 400, "bad_request"),
        (json!({"goal": "x", "device_id": "nobody"}), 404, "not_found"),
    ] {
        refused(&olaf.post("/v1/digital-task/execute", bad).await, status, code);
    }
    let listed = done(vera.get("/v1/digital-task?session_id=walk&status=success").await);
    assert_eq!(
        (&listed["count"], &listed["limit"], &listed["items"][0]["task_id"]),
        (&json!(1), &json!(20), &json!("t1"))
    );
    assert_eq!(done(vera.get("/v1/digital-task?session_id=other").await)["count"], 0);
    let stats = done(vera.get("/v1/digital-task/stats").await)["stats"].clone();
    assert_eq!(
        (&stats["total"], &stats["success_rate"], &stats["counts_by_status"]),
        (&json!(1), &json!(1.0), &json!({"success": 1}))
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn word_of_a_task_is_neither_lost_by_a_restart_nor_said_again_when_the_device_has_it() {
    let gateway = Running::start(with_chat(Arc::new(Clerk::default()))).await;
    let olaf = operator(&gateway, "olaf", Rank::Operator).await;
    gateway.add("cane-1", false).await;
    // the device is away, and the gateway is restarted
    done(
        olaf.post("/v1/digital-task/execute", json!({"goal": "book a table", "task_id": "t1", "device_id": "cane-1"}))
            .await,
    );
    becomes(&olaf, "t1", "success").await;
    let gateway = gateway.restart().await;
    let mut device = gateway.connect("cane-1").await;
    hello(&mut device, 7).await;
    let (task, _) = told(&mut device, "success").await;
    assert_eq!((&task["task_id"], &task["message"]), (&json!("t1"), &json!("Done. A table for two is booked.")));
    answer(&mut device).await.must_be("Done. A table for two is booked.");
    device.disconnect().await;
    // it did not say that it has it: it is told again, and says nothing again
    let gateway = gateway.restart().await;
    let mut device = gateway.connect("cane-1").await;
    hello(&mut device, 8).await;
    let (_, seq) = told(&mut device, "success").await;
    device.control(None, ControlKind::Ack(seq)).await.unwrap();
    assert_eq!(words_meanwhile(&mut device).await, 0);
    device.disconnect().await;
    // now it has said so
    let gateway = gateway.restart().await;
    let mut device = gateway.connect("cane-1").await;
    hello(&mut device, 9).await;
    assert_eq!(words_meanwhile(&mut device).await, 0);
    let spoken = gateway.turns("cane-1", 1).await.iter().filter(|turn| turn["input"] == "task").count();
    assert_eq!(spoken, 1);
    gateway.stop().await;
}

/// 25: a stop of the gateway canceled what ran.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_of_the_gateway_ends_no_task() {
    let clerk = Clerk::hanging(1);
    let gateway = Running::start(with_chat(clerk.clone())).await;
    let olaf = operator(&gateway, "olaf", Rank::Operator).await;
    gateway.add("cane-1", false).await;
    done(
        olaf.post("/v1/digital-task/execute", json!({"goal": "book a table", "task_id": "t1", "device_id": "cane-1"}))
            .await,
    );
    becomes(&olaf, "t1", "running").await;
    // the model that hangs is asked before the stop, not after it
    let asked = async {
        while clerk.asked.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("the model is asked");
    let gateway = gateway.restart().await;
    let olaf = again(&gateway, &olaf);
    let task = becomes(&olaf, "t1", "success").await;
    assert_eq!(stages(&task), ["accepted", "running", "recovered", "running", "tool", "success"]);
    assert_eq!(task["attempts"], 1, "a stop is no attempt");
    gateway.stop().await;
}

/// 25: words like "notebook" and "in order to" began tasks; 21: what was said could run programs.
#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_says_begins_a_task_only_where_he_asks_for_one() {
    let clerk = Arc::new(Clerk::default());
    let gateway = Running::start_with(with_chat(clerk.clone()), |config| config.tasks.voice = Voice::On).await;
    let mut device = gateway.device("cane-1").await;
    ask(&mut device, "where is my notebook").await.must_be("Just talk.");
    ask(&mut device, "in order to book a table, what do I need").await.must_be("Just talk.");
    assert!(gateway.operators().task_list(voxgate::admin::TaskQuery::default()).await.unwrap().is_empty());
    ask(&mut device, "Please help me book a table for two")
        .await
        .must_be("I'm working on it. I'll tell you when it's done.");
    loop {
        // the word of the task comes when it is there, and then it is spoken
        let answer = answer(&mut device).await;
        if answer.reply == "Done. A table for two is booked." && answer.frames > 0 {
            break;
        }
    }
    let tasks = gateway.operators().task_list(voxgate::admin::TaskQuery::default()).await.unwrap();
    assert_eq!((tasks.len(), tasks[0].requested_by.as_str(), tasks[0].device_id.as_str()), (1, "voice", "cane-1"));
    let tools: Vec<String> =
        clerk.asked.lock().unwrap().iter().flat_map(|asked| asked.tools.clone()).map(|tool| tool.name).collect();
    assert!(
        tools.iter().all(|name| ["current_time", "give_up", "device_status"].contains(&name.as_str())),
        "{tools:?}"
    );
    gateway.stop().await;

    // without a tool that reaches beyond the device nobody is promised anything
    let gateway = Running::start(with_chat(Arc::new(Clerk::default()))).await;
    let mut device = gateway.device("cane-1").await;
    ask(&mut device, "help me book a table").await.must_be("Just talk.");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_woken_by_the_end_of_a_task() {
    let gateway = Running::start_with(with_chat(Arc::new(Clerk::default())), |config| {
        config.policy.interaction.quiet_hours = "00:00-23:59".to_owned();
        config.policy.interaction.timezone = "UTC".to_owned();
    })
    .await;
    let olaf = operator(&gateway, "olaf", Rank::Operator).await;
    let mut device = gateway.device("cane-1").await;
    hello(&mut device, 7).await;
    done(olaf.post("/v1/digital-task/execute", json!({"goal": "book a table", "device_id": "cane-1"})).await);
    told(&mut device, "success").await;
    let turn = gateway.last_turn("cane-1").await;
    assert_eq!((&turn["input"], &turn["outcome"], &turn["frames"]), (&json!("task"), &json!("silenced"), &json!(0)));
    gateway.stop().await;
}

/// The Python that has the SDK of the protocol: `VOXGATE_MCP_PYTHON`, or the system's. None: said, and the test is skipped.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("VOXGATE_MCP_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| PathBuf::from("python3"));
    let found = Command::new(&python).args(["-c", "import mcp.server"]).output().is_ok_and(|out| out.status.success());
    if !found {
        eprintln!(
            "skipped: {} has no package mcp (pip install mcp, or VOXGATE_MCP_PYTHON=/path/to/python)",
            python.display()
        );
    }
    found.then_some(python)
}

fn peer() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mcp/server.py").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_with_tools_works_on_a_task_and_learns_no_secret_of_the_gateway() {
    let Some(python) = python() else { return };
    let server = Mcp {
        name: "food".into(),
        command: Some(python.display().to_string()),
        args: vec![peer(), "stdio".into()],
        ..Mcp::default()
    };
    let missing = Mcp { name: "gone".into(), command: Some("/no/such/program".into()), ..Mcp::default() };
    let gateway =
        Running::start_with(with_chat(Arc::new(Clerk::default())), |config| config.tasks.mcp = vec![server, missing])
            .await;
    let olaf = operator(&gateway, "olaf", Rank::Operator).await;
    let run = async |goal: &str, status: &str| {
        let begun = done(olaf.post("/v1/digital-task/execute", json!({"goal": goal})).await);
        becomes(&olaf, begun["task"]["task_id"].as_str().unwrap(), status).await
    };
    let task = run("call food_reserve {\"people\": 2}", "success").await;
    assert!(task["result"]["text"].as_str().unwrap().contains("reserved for 2"), "{task}");
    assert!(task["steps"].to_string().contains("gone does not answer"), "{task}");
    let task = run("call food_environment {}", "success").await;
    let names = task["result"]["text"].as_str().unwrap();
    assert!(names.contains("PATH") && !names.contains("CARGO"), "{names}");
    // a call that fails is no success, nor is one of a server that dies; and the next task finds it alive again
    run("call food_reserve {\"people\": 20}", "failed").await;
    run("call food_crash {}", "failed").await;
    run("call food_reserve {\"people\": 3}", "success").await;
    run("call exec {\"command\": \"id\"}", "failed").await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_tools_is_reached_over_http() {
    let Some(python) = python() else { return };
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut command = tokio::process::Command::new(python);
    let quiet = command.args([peer(), "http".into(), port.to_string()]).kill_on_drop(true);
    let _server = quiet.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let up = async {
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, up).await.unwrap();
    let server = Mcp { name: "food".into(), url: Some(format!("http://127.0.0.1:{port}/mcp")), ..Mcp::default() };
    let gateway =
        Running::start_with(with_chat(Arc::new(Clerk::default())), |config| config.tasks.mcp = vec![server]).await;
    let olaf = operator(&gateway, "olaf", Rank::Operator).await;
    let order = json!({"goal": "call food_reserve {\"people\": 4}", "task_id": "t1"});
    done(olaf.post("/v1/digital-task/execute", order).await);
    let task = becomes(&olaf, "t1", "success").await;
    assert!(task["result"]["text"].as_str().unwrap().contains("reserved for 4"), "{task}");
    gateway.stop().await;
}

/// A chat service: the first request is never answered, then it calls a tool and says that all is done.
async fn service() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let address = chat_service(move |body| {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            return None;
        }
        if body.contains("\"role\":\"tool\"") {
            return Some(json!({"content": "A table is booked."}));
        }
        let function = json!({"name": "device_status", "arguments": "{}"});
        Some(json!({"tool_calls": [{"index": 0, "id": "1", "type": "function", "function": function}]}))
    });
    (address.await, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_in_the_midst_of_a_task_loses_neither_it_nor_those_that_wait() {
    let (chat, asked) = service().await;
    let off = "type = \"off\"\n";
    let mut gateway = Binary::serve(&format!(
        "[tasks]\nconcurrent = 1\n[providers.stt]\n{off}[providers.tts]\n{off}[providers.embed]\n{off}\
         [providers.chat]\ntype = \"openai\"\nurl = \"http://{chat}/v1\"\nfirst_byte = \"60s\"\n"
    ))
    .await;
    gateway.json(&["device", "add", "cane-1", "--json"]);
    let first = gateway.json(&["task", "run", "book a table", "--device", "cane-1", "--json"]);
    let second = gateway.json(&["task", "run", "book another", "--device", "cane-1", "--task-id", "second", "--json"]);
    assert_eq!(second["status"], "pending");
    wait("request", || (asked.load(Ordering::SeqCst) == 1).then_some(())).await;
    gateway.kill();
    // nobody runs: its state can be asked all the same, and another can wait
    let id = first["task_id"].as_str().unwrap().to_owned();
    assert_eq!(gateway.json(&["task", "show", &id, "--json"])["status"], "running");
    gateway.json(&["task", "run", "book a third", "--device", "cane-1", "--task-id", "third", "--json"]);
    gateway.serve_again().await;
    for task in [id.as_str(), "second", "third"] {
        let over = wait("end", || {
            let task = gateway.json(&["task", "show", task, "--json"]);
            (task["status"] == "success").then_some(task)
        })
        .await;
        let recovered = stages(&over).contains(&"recovered");
        assert_eq!((recovered, &over["attempts"]), (task == id, &json!(if task == id { 2 } else { 1 })), "{over}");
    }
    assert!(!gateway.run(&["task", "cancel", "second"]).status.success(), "it is over");
    assert_eq!(gateway.json(&["task", "list", "--json"]).as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_nobody_works_on_any_more_is_told_so() {
    let gateway =
        Running::start_with(with_chat(Clerk::hanging(9)), |config| config.tasks.timeout = Span::secs(1)).await;
    let olaf = operator(&gateway, "olaf", Rank::Operator).await;
    let mut device = gateway.device("cane-1").await;
    hello(&mut device, 7).await;
    done(olaf.post("/v1/digital-task/execute", json!({"goal": "book a table", "device_id": "cane-1"})).await);
    let (task, _) = told(&mut device, "timeout").await;
    assert_eq!(task["extra"]["error"], "not done within 1s");
    let order = json!({"goal": "book", "task_id": "t2", "device_id": "cane-1", "speak": false, "timeout_seconds": 60});
    done(olaf.post("/v1/digital-task/execute", order).await);
    becomes(&olaf, "t2", "running").await;
    done(olaf.post("/v1/digital-task/t2/cancel", json!({"reason": "changed my mind"})).await);
    let (task, _) = told(&mut device, "canceled").await;
    assert_eq!(task["extra"], json!({"event": "canceled", "error": "changed my mind"}));
    gateway.stop().await;
}
