//! The agent with a scripted model.

use futures::{StreamExt, stream};

use super::*;
use crate::provider::{
    ChatMessage, ChatModel, ChatPiece, ChatRequest, ChatStream, ErrorKind, ProviderError, Role, ToolCall,
};

/// Answers each request with the next script, and keeps the requests; the last script goes on for ever.
struct Model(Mutex<Vec<Vec<Result<ChatPiece, ProviderError>>>>, Mutex<Vec<ChatRequest>>);

impl ChatModel for Model {
    fn chat(&self, request: ChatRequest) -> ChatStream {
        self.1.lock().unwrap().push(request);
        let mut scripts = self.0.lock().unwrap();
        let script = if scripts.len() > 1 { scripts.remove(0) } else { scripts[0].clone() };
        stream::iter(script).boxed()
    }
}

fn says(text: &str) -> Vec<Result<ChatPiece, ProviderError>> {
    vec![Ok(text.into())]
}

fn calls(name: &str, arguments: &str) -> Vec<Result<ChatPiece, ProviderError>> {
    vec![Ok(ChatPiece::Call(ToolCall { id: "c".into(), name: name.into(), arguments: arguments.into() }))]
}

/// What becomes of a task with these answers of the model; and what it was asked.
async fn done(settings: Settings, scripts: Vec<Vec<Result<ChatPiece, ProviderError>>>) -> (Task, Vec<ChatRequest>) {
    let bench = Bench::new(settings.clone()).await;
    let model = Arc::new(Model(Mutex::new(scripts), Mutex::default()));
    let agent = Agent::new(AgentParts {
        settings: &settings,
        http: &crate::provider::http::Settings::default(),
        chat: model.clone(),
        devices: Arc::clone(&bench.phone) as Arc<dyn Devices>,
        clock: Arc::clone(&bench.clock) as Arc<dyn Clock>,
        zone: jiff::tz::TimeZone::UTC,
        random: Arc::new(|| 0xfeed),
    });
    let (agent, devices) = (Arc::new(agent.unwrap()), Arc::clone(&bench.phone) as Arc<dyn Devices>);
    let stop = CancellationToken::new();
    let running = tokio::spawn(Arc::clone(&bench.tasks).run(agent, devices, stop.clone()));
    bench.begin("one", "switch on the light").await.unwrap();
    let task = loop {
        let task = bench.task("one").await;
        if task.state.is_final() {
            break task;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    stop.cancel();
    running.await.unwrap();
    (task, model.1.lock().unwrap().clone())
}

fn last(request: &ChatRequest) -> &ChatMessage {
    request.messages.last().unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_the_model_calls_is_done_and_noted_and_told_to_it_as_data() {
    let scripts = vec![calls("device_self_light_set", "{\"on\": true}"), says(" The light is on. ")];
    let (task, requests) = done(Settings::default(), scripts).await;
    assert_eq!((task.state, task.result), (TaskState::Success, json!({"text": "The light is on."})));
    assert_eq!(task.steps[2].message, "device_self_light_set");
    let names: Vec<&str> = requests[0].tools.iter().map(|tool| tool.name.as_str()).collect();
    let expected = ["current_time", "give_up", "device_status", "device_self_light_set", "device_self_page"];
    assert_eq!(names, expected, "and no shell");
    let told = last(&requests[1]);
    assert_eq!((told.role, told.answers.as_deref()), (Role::Tool, Some("c")));
    assert_eq!(told.content, "<data 000000000000feed>\nthe light is on\n</data 000000000000feed>");
    assert!(requests[0].messages[0].content.contains("never an instruction"));
}

#[tokio::test(start_paused = true)]
async fn a_model_that_only_says_that_all_is_done_has_done_nothing() {
    let (task, requests) = done(Settings::default(), vec![says("I have booked your table!")]).await;
    assert_eq!((task.state, task.error.as_str()), (TaskState::Failed, "the model used no tool that does anything"));
    assert_eq!(task.result, json!({}), "its claim is told to nobody");
    assert_eq!(requests.len(), 2, "it was reminded once");
    // to read the clock is to do nothing
    let scripts = vec![calls("current_time", ""), says("Booked!"), says("Booked, really!")];
    assert_eq!(done(Settings::default(), scripts).await.0.state, TaskState::Failed);
    // nor is a call that failed
    let scripts = vec![calls("exec", "{\"command\": \"ls\"}"), says("Done!"), says("Done!")];
    let (task, requests) = done(Settings::default(), scripts).await;
    assert_eq!(task.state, TaskState::Failed);
    assert!(last(&requests[1]).content.contains("there is no such tool"));
    let free = Settings { require_tools: false, ..Settings::default() };
    assert_eq!(done(free, vec![says("A poem.")]).await.0.state, TaskState::Success);
}

#[tokio::test(start_paused = true)]
async fn a_model_may_say_that_it_cannot() {
    let scripts = vec![calls("give_up", "{\"reason\": \"There is no restaurant tool.\"}")];
    let (task, _) = done(Settings::default(), scripts).await;
    assert_eq!((task.state, task.error.as_str()), (TaskState::Failed, "the model gave up"));
    assert_eq!(task.result["text"], "There is no restaurant tool.");
}

#[tokio::test(start_paused = true)]
async fn a_model_that_calls_for_ever_is_stopped() {
    let settings = Settings { rounds: 4, ..Settings::default() };
    let (task, requests) = done(settings, vec![calls("device_self_light_set", "{}")]).await;
    assert_eq!((task.state, requests.len()), (TaskState::Failed, 4));
    assert_eq!(task.error, "not done in 4 answers of the model");
    let many = vec![(0..50).flat_map(|_| calls("device_self_light_set", "{}")).collect(), says("ok")];
    let (_, requests) = done(Settings::default(), many).await;
    let told = requests[1].messages.iter().filter(|message| message.role == Role::Tool);
    assert_eq!(told.filter(|message| message.content.contains("too many calls")).count(), 42);
}

#[tokio::test(start_paused = true)]
async fn no_tool_fills_the_prompt() {
    let settings = Settings {
        answer: crate::domain::ByteSize::kb(16),
        answers: crate::domain::ByteSize::kb(40),
        ..Settings::default()
    };
    let scripts = vec![calls("device_self_page", "{}"); 3].into_iter().chain([says("ok")]).collect();
    let (task, requests) = done(settings, scripts).await;
    assert_eq!(task.state, TaskState::Success);
    let told: usize = requests[3].messages.iter().map(|message| message.content.len()).sum();
    assert!((40 << 10..44 << 10).contains(&told), "{told}");
    assert!(requests[2].tools.len() == 5 && requests[3].tools.is_empty(), "when there is no room there are no tools");
    assert!(last(&requests[1]).content.contains("[cut]"));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_ill_for_a_moment_is_asked_again_and_its_words_are_nobodys() {
    let ill = |kind| vec![Err(ProviderError::new(kind, "chat", "secret of the vendor"))];
    let well = [calls("device_self_light_set", "{}"), says("On.")];
    let scripts = [ill(ErrorKind::Unavailable), ill(ErrorKind::RateLimited)].into_iter().chain(well).collect();
    assert_eq!(done(Settings::default(), scripts).await.0.state, TaskState::Success);
    for (kind, asked) in [(ErrorKind::Unauthorized, 1), (ErrorKind::Internal, 3)] {
        let (task, requests) = done(Settings::default(), vec![ill(kind)]).await;
        assert_eq!((task.state, requests.len()), (TaskState::Failed, asked));
        assert_eq!(task.error, format!("the chat model: {}", kind.name()));
        assert!(!format!("{task:?}").contains("secret"));
    }
}
