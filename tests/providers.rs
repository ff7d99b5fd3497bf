//! The provider adapters against scripted services: what is slow, cut, refused, garbled or silent.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod scripted;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::codec::Framed;

use voxgate::provider::http::{Client, Headers, HttpError, Settings};
use voxgate::provider::openai::{OpenAiChat, OpenAiEmbedder, OpenAiTranscriber, Target};
use voxgate::provider::wyoming::{Address, WyomingSynthesizer, WyomingTranscriber};
use voxgate::provider::{
    ChatMessage, ChatModel, ChatRequest, Embedder, ErrorKind, ProviderError, Role, SpeechRequest, Synthesizer,
    ToolCall, ToolSpec, Transcriber, Urgency, Utterance,
};
use voxgate::wire::wyoming::{Decoder, Event};

use scripted::{Act, KEY, SSE, patience, plain, request, said, send, serve};

fn target(url: &str) -> Target {
    let client = Client::new(&Settings::default()).unwrap();
    let mut target = Target::new("chat", url, client);
    target.headers = Headers::new().bearer(KEY);
    target.secret = Some(KEY.into());
    target.patience = patience();
    target
}

fn ask() -> ChatRequest {
    ChatRequest {
        messages: vec![ChatMessage::new(Role::User, "hi")],
        max_tokens: Some(7),
        temperature: Some(0.5),
        ..ChatRequest::default()
    }
}

/// What came before the error, if there was one.
async fn chat(script: Vec<Act>) -> (String, Option<ProviderError>) {
    let (url, _requests) = serve(script).await;
    said(&OpenAiChat::new(target(&url)), ask()).await
}

fn delta(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n")
}

const FINISH: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";

async fn chat_error(script: Vec<Act>) -> ProviderError {
    chat(script).await.1.unwrap()
}

#[tokio::test]
async fn each_refusal_has_its_kind_and_none_repeats_the_key() {
    let quoted = format!("{{\"error\":{{\"message\":\"Incorrect API key: {KEY}\",\"code\":\"invalid_api_key\"}}}}");
    let error = chat_error(vec![plain("401 Unauthorized", "", &quoted)]).await;
    assert_eq!(error.kind, ErrorKind::Unauthorized);
    assert!(error.message.contains("Incorrect API key: ***"), "{error}");

    let error = chat_error(vec![plain("429 Too Many Requests", "retry-after: 17\r\n", "{}")]).await;
    assert_eq!((error.kind, error.retry_after), (ErrorKind::RateLimited, Some(Duration::from_secs(17))));

    for (status, body, kind) in [
        ("400 Bad Request", "{\"error\":\"no such model\"}", ErrorKind::BadRequest),
        ("404 Not Found", "<html>", ErrorKind::BadRequest),
        ("500 Internal Server Error", "", ErrorKind::Internal),
        ("503 Service Unavailable", "", ErrorKind::Unavailable),
        (
            "503 Service Unavailable",
            "{\"error\":{\"message\":\"m\",\"code\":\"model_missing\"}}",
            ErrorKind::NotConfigured,
        ),
    ] {
        assert_eq!(chat_error(vec![plain(status, "", body)]).await.kind, kind, "{status} {body}");
    }
}

#[tokio::test]
async fn what_is_no_answer_is_said_to_be_none() {
    for garbage in ["data: {\"choices\":[{]}\n\n", "data: {\"x\":1}\n\n", "data: \u{0}\n\n"] {
        let error = chat_error(vec![send(SSE), send(garbage)]).await;
        assert_eq!(error.kind, ErrorKind::BadAnswer, "{garbage}");
    }
    let error = chat_error(vec![send(SSE), send(b"data: \xff\xff\n\n")]).await;
    assert_eq!(error.kind, ErrorKind::BadAnswer);
    let error = chat_error(vec![send(SSE)]).await;
    assert_eq!(error.kind, ErrorKind::BadAnswer);
    let error = chat_error(vec![send("SSH-2.0-OpenSSH\r\n")]).await;
    assert_eq!(error.kind, ErrorKind::Unavailable);
    let error = chat_error(vec![send(SSE), send("data: {\"error\":{\"message\":\"out of memory\"}}\n\n")]).await;
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Internal, "out of memory"));
}

#[tokio::test]
async fn words_that_came_before_a_failure_are_kept() {
    let (text, error) = chat(vec![send(SSE), send(delta("Hel")), send("data: {\"choi")]).await;
    assert_eq!((text.as_str(), error.unwrap().kind), ("Hel", ErrorKind::BadAnswer), "cut within an event");
    let (text, error) = chat(vec![send(SSE), send(delta("Hel"))]).await;
    assert_eq!((text.as_str(), error.unwrap().kind), ("Hel", ErrorKind::Unavailable), "cut between events");
    let (text, error) = chat(vec![send(SSE), send(delta("Hel") + "data: garbage\n\n")]).await;
    assert_eq!((text.as_str(), error.unwrap().kind), ("Hel", ErrorKind::BadAnswer));
}

#[tokio::test]
async fn silence_ends_with_a_timeout_that_says_what_was_awaited() {
    let error = chat_error(vec![Act::Hang]).await;
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Timeout, "no answer within 300ms"));
    let (text, error) = chat(vec![send(SSE), send(delta("Hel")), Act::Hang]).await;
    let error = error.unwrap();
    assert_eq!((text.as_str(), error.kind), ("Hel", ErrorKind::Timeout));
    assert_eq!(error.message, "no next piece within 300ms");

    let mut drip = vec![send(SSE)];
    for _ in 0..100 {
        drip.extend([Act::Wait(100), send(delta("."))]);
    }
    let (text, error) = chat(drip).await;
    assert!(text.len() > 5, "{text}");
    assert_eq!(error.unwrap().message, "no end of the answer within 3s");

    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gone = OpenAiChat::new(target(&format!("http://{nobody}/v1"))).chat(ask()).next().await;
    assert_eq!(gone.unwrap().unwrap_err().kind, ErrorKind::Unavailable);
}

#[tokio::test]
async fn an_answer_is_whole_however_slowly_and_wherever_it_is_cut() {
    let text = format!(
        ": ping\n\n{}{}: ping\n\n{FINISH}data: [DONE]\n\ndata: junk after the end\n\n",
        delta("Grüß"),
        delta(" 好")
    );
    let mut script = vec![send(SSE)];
    for byte in text.as_bytes().chunks(3) {
        script.extend([send(byte), Act::Wait(1)]);
    }
    assert_eq!(chat(script).await, ("Grüß 好".into(), None));
    assert_eq!(chat(vec![send(SSE), send(delta("Hi") + FINISH)]).await, ("Hi".into(), None), "no [DONE]");
    let whole = "{\"choices\":[{\"message\":{\"content\":\"Hello.\"},\"finish_reason\":\"stop\"}]}";
    let cut = FINISH.replace("stop", "length");
    assert_eq!(chat(vec![send(SSE), send(delta("Hi") + &cut)]).await, ("Hi✂".into(), None), "cut by max_tokens");
    assert_eq!(chat(vec![plain("200 OK", "", whole)]).await, ("Hello.".into(), None), "a server that does not stream");
}

#[tokio::test]
async fn the_request_says_what_was_asked_for() {
    let (url, mut requests) = serve(vec![send(SSE), send(FINISH)]).await;
    let target = Target { model: Some("m1".into()), ..target(&url) };
    assert!(!format!("{target:?}").contains(KEY));
    let all: Vec<_> = OpenAiChat::new(target).chat(ask()).collect().await;
    assert!(all.is_empty());
    let request = String::from_utf8(requests.recv().await.unwrap()).unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1"), "{head}");
    assert!(head.to_lowercase().contains(&format!("authorization: bearer {KEY}")), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let expected = serde_json::json!({
        "messages": [{ "role": "user", "content": "hi" }], "stream": true, "model": "m1", "max_tokens": 7, "temperature": 0.5,
    });
    assert_eq!(body, expected);
}

/// A piece of calls, as servers stream them.
fn calls(calls: &serde_json::Value) -> String {
    format!("data: {}\n\n", serde_json::json!({"choices": [{"delta": {"tool_calls": calls}, "finish_reason": null}]}))
}

#[tokio::test]
async fn calls_of_tools_are_put_together_from_their_pieces_and_half_of_one_is_none() {
    let pieces = delta("One moment. ")
        + &calls(
            &serde_json::json!([{"index": 0, "id": "a", "type": "function", "function": {"name": "lamp", "arguments": ""}}]),
        )
        + &calls(&serde_json::json!([{"index": 0, "function": {"arguments": "{\"on\":"}}]))
        + &calls(&serde_json::json!([{"index": 1, "function": {"name": "fan", "arguments": "{}"}}]))
        + &calls(&serde_json::json!([{"index": 0, "function": {"arguments": "true}"}}]));
    let end = FINISH.replace("stop", "tool_calls");
    let whole = "One moment. [a lamp {\"on\":true}][call-1 fan {}]";
    assert_eq!(chat(vec![send(SSE), send(pieces.clone() + &end)]).await, (whole.into(), None));
    assert_eq!(chat(vec![send(SSE), send(pieces.clone() + "data: [DONE]\n\n")]).await, (whole.into(), None));
    let (text, error) = chat(vec![send(SSE), send(pieces)]).await;
    assert_eq!((text.as_str(), error.unwrap().kind), ("One moment. ", ErrorKind::Unavailable), "it broke off");
    let at_once = "{\"choices\":[{\"message\":{\"content\":null,\"tool_calls\":[{\"id\":\"x\",\"function\":{\"name\":\"lamp\",\"arguments\":\"{}\"}}]},\"finish_reason\":\"tool_calls\"}]}";
    assert_eq!(chat(vec![plain("200 OK", "", at_once)]).await, ("[x lamp {}]".into(), None));
    let many: Vec<_> = (0..40).map(|n| serde_json::json!({"index": n, "function": {"name": "x"}})).collect();
    let error = chat_error(vec![send(SSE), send(calls(&many.into()))]).await;
    assert_eq!(error.kind, ErrorKind::BadAnswer);
}

#[tokio::test]
async fn a_request_tells_of_tools_of_calls_and_of_their_answers() {
    let (url, mut requests) = serve(vec![send(SSE), send(FINISH)]).await;
    let call = ToolCall { id: "a".into(), name: "lamp".into(), arguments: "{}".into() };
    let tool = ToolSpec {
        name: "lamp".into(),
        description: "Switches the lamp".into(),
        parameters: serde_json::json!({"type": "object"}),
    };
    let messages = vec![
        ChatMessage::new(Role::User, "light"),
        ChatMessage::calling("", vec![call.clone()]),
        ChatMessage::answering(&call, "done"),
    ];
    let request = ChatRequest { messages, tools: vec![tool], ..ChatRequest::default() };
    let all: Vec<_> = OpenAiChat::new(target(&url)).chat(request).collect().await;
    assert!(all.is_empty());
    let request = String::from_utf8(requests.recv().await.unwrap()).unwrap();
    let body: serde_json::Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    let function = serde_json::json!({"name": "lamp", "arguments": "{}"});
    let expected = serde_json::json!([
        {"role": "user", "content": "light"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "a", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "a", "content": "done"},
    ]);
    assert_eq!(body["messages"], expected);
    assert_eq!(body["tools"][0]["function"]["parameters"], serde_json::json!({"type": "object"}));
}

#[tokio::test]
async fn dropping_an_answer_closes_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        request(&mut socket).await;
        socket.write_all((SSE.to_owned() + &delta("Hel")).as_bytes()).await.unwrap();
        socket.read(&mut [0; 16]).await
    });
    let mut stream = OpenAiChat::new(target(&url)).chat(ask());
    assert_eq!(stream.next().await, Some(Ok("Hel".into())));
    drop(stream);
    let end = tokio::time::timeout(Duration::from_secs(5), server).await.unwrap().unwrap();
    assert!(matches!(end, Ok(0) | Err(_)));
}

#[tokio::test]
async fn embeddings_and_transcriptions_come_from_openai_services() {
    let body = "{\"data\":[{\"index\":0,\"embedding\":[0.5,1]}]}";
    let (url, _requests) = serve(vec![plain("200 OK", "", body)]).await;
    let vectors = OpenAiEmbedder::new(target(&url)).embed(vec!["a".into()], Urgency::Turn).await;
    assert_eq!(vectors, Ok(vec![vec![0.5, 1.0]]));

    let (url, mut requests) = serve(vec![plain("200 OK", "", "{\"text\":\" Hello there. \"}")]).await;
    let utterance = Utterance { pcm: vec![1, -1].into(), language: Some("en-GB".into()), ..Utterance::default() };
    let heard = OpenAiTranscriber::new(target(&url)).transcribe(utterance).await.unwrap();
    assert_eq!(heard.text, "Hello there.");
    let request = String::from_utf8_lossy(&requests.recv().await.unwrap()).into_owned();
    assert!(request.contains("name=\"language\"\r\n\r\nen\r\n") && request.contains("RIFF"), "{request}");
}

#[tokio::test]
async fn a_download_goes_on_where_it_stopped_or_says_that_it_cannot() {
    let client = Client::new(&Settings::default()).unwrap();
    let (url, mut requests) =
        serve(vec![plain("206 Partial Content", "content-range: bytes 6-10/11\r\n", "world")]).await;
    let mut download = client.download(&url, 6, patience()).await.unwrap();
    assert_eq!((download.from, download.total), (6, Some(11)));
    assert_eq!(download.stream.next().await.unwrap().unwrap(), "world");
    let request = String::from_utf8(requests.recv().await.unwrap()).unwrap().to_lowercase();
    assert!(request.contains("range: bytes=6-\r\n"), "{request}");

    let (url, _requests) = serve(vec![plain("200 OK", "", "hello world")]).await;
    let download = client.download(&url, 6, patience()).await.unwrap();
    assert_eq!((download.from, download.total), (0, Some(11)));

    let (url, _requests) = serve(vec![plain("206 Partial Content", "content-range: bytes 0-4/11\r\n", "hello")]).await;
    assert!(matches!(client.download(&url, 6, patience()).await.err(), Some(HttpError::BadAnswer(_))));

    let (url, _requests) = serve(vec![send("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhel")]).await;
    let mut download = client.download(&url, 0, patience()).await.unwrap();
    assert_eq!(download.stream.next().await.unwrap().unwrap(), "hel");
    assert!(matches!(download.stream.next().await, Some(Err(HttpError::Unavailable(_)))), "cut short");
}

/// A Wyoming service: for each connection the answers to one request after another, then it closes.
async fn wyoming(answers: Vec<Vec<Event>>, hang: bool) -> (Address, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap().to_string());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let answers = answers.clone();
            tokio::spawn(async move {
                let mut wire = Framed::new(socket, Decoder::default());
                for answer in answers {
                    loop {
                        match wire.next().await {
                            Some(Ok(event)) if matches!(event.kind.as_str(), "audio-stop" | "synthesize") => break,
                            Some(Ok(_)) => {}
                            _ => return,
                        }
                    }
                    for event in answer {
                        futures::SinkExt::send(&mut wire, event).await.unwrap();
                    }
                }
                if hang {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (address, connections)
}

fn hello() -> Utterance {
    Utterance { pcm: vec![100; 4_000].into(), language: None, ..Utterance::default() }
}

fn transcript(text: &str) -> Vec<Event> {
    vec![Event::new("transcript").with("text", text)]
}

#[tokio::test]
async fn a_connection_is_used_again_and_replaced_when_the_service_has_closed_it() {
    let (address, connections) = wyoming(vec![transcript(" one "), transcript("two")], false).await;
    let transcriber = WyomingTranscriber::new("stt", address, None, patience());
    let mut heard = Vec::new();
    for _ in 0..4 {
        heard.push(transcriber.transcribe(hello()).await.unwrap().text);
    }
    assert_eq!(heard, ["one", "two", "one", "two"]);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_wyoming_service_that_fails_hangs_or_is_not_there_is_told_apart() {
    let kind = async |address, patience| {
        WyomingTranscriber::new("stt", address, None, patience).transcribe(hello()).await.unwrap_err().kind
    };
    let (address, _) = wyoming(vec![vec![Event::error("no model", "model_missing")]], true).await;
    assert_eq!(kind(address, patience()).await, ErrorKind::NotConfigured);
    let (address, _) = wyoming(vec![vec![Event::new("error").with("text", "it broke")]], true).await;
    assert_eq!(kind(address, patience()).await, ErrorKind::Internal);
    let (address, _) = wyoming(vec![vec![]], true).await;
    assert_eq!(kind(address, patience()).await, ErrorKind::Timeout);
    let (address, _) = wyoming(vec![vec![]], false).await;
    assert_eq!(kind(address, patience()).await, ErrorKind::Unavailable);
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(kind(Address::Tcp(nobody.to_string()), patience()).await, ErrorKind::Unavailable);
    let (url, _requests) = serve(vec![]).await;
    let http = url.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    assert!(matches!(kind(Address::Tcp(http), patience()).await, ErrorKind::Unavailable | ErrorKind::Timeout));
}

#[tokio::test]
async fn speech_streams_and_breaks_off_where_the_service_does() {
    let say = || SpeechRequest { text: "hi".into(), ..SpeechRequest::default() };
    let mut answer = vec![Event::audio_start(22_050), Event::audio_chunk(22_050, &[1, 2, 3])];
    let stereo = Event { payload: vec![10, 0, 20, 0].into(), ..Event::audio_chunk(22_050, &[]).with("channels", 2) };
    answer.extend([stereo, Event::new("audio-stop")]);
    let (address, _) = wyoming(vec![answer], true).await;
    let chunks: Vec<_> = WyomingSynthesizer::new("tts", address, None, patience()).speak(say()).collect().await;
    let samples: Vec<_> = chunks.into_iter().map(|chunk| chunk.unwrap().samples).collect();
    assert_eq!(samples, [vec![1, 2, 3], vec![15]]);

    let half = vec![Event::audio_start(24_000), Event::audio_chunk(24_000, &[1])];
    let (address, _) = wyoming(vec![half], false).await;
    let chunks: Vec<_> = WyomingSynthesizer::new("tts", address, None, patience()).speak(say()).collect().await;
    assert!(chunks[0].is_ok());
    assert_eq!(chunks[1].as_ref().unwrap_err().kind, ErrorKind::Unavailable);

    let odd = vec![Event::audio_chunk(24_000, &[1]).with("width", 4)];
    let (address, _) = wyoming(vec![odd], true).await;
    let chunks: Vec<_> = WyomingSynthesizer::new("tts", address, None, patience()).speak(say()).collect().await;
    assert_eq!(chunks[0].as_ref().unwrap_err().kind, ErrorKind::BadAnswer);
}
