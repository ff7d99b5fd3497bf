//! Anthropic's Messages API.

use std::time::Duration;

use serde_json::{Value, json};
use voxgate::provider::anthropic::{AnthropicChat, headers};
use voxgate::provider::{ErrorKind, ProviderError};

use crate::scripted::{Act, KEY, SSE, plain, send, serve};
use crate::{ask, asked, said, talk, target};

fn model(url: &str) -> AnthropicChat {
    AnthropicChat::new(target(url, headers(Some(KEY)), "claude-test"))
}

async fn chat(script: Vec<Act>) -> (String, Option<ProviderError>) {
    let (url, _requests) = serve(script).await;
    said(&model(&url), ask()).await
}

async fn chat_error(script: Vec<Act>) -> ProviderError {
    chat(script).await.1.unwrap()
}

/// An event as the service writes it.
fn event(value: &Value) -> String {
    format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap())
}

fn start() -> String {
    let message = json!({ "id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "claude-test",
        "stop_reason": null, "usage": { "input_tokens": 25, "output_tokens": 1 } });
    event(&json!({ "type": "message_start", "message": message })) + &event(&json!({ "type": "ping" }))
}

fn block(index: u64, block: &Value) -> String {
    event(&json!({ "type": "content_block_start", "index": index, "content_block": block }))
}

fn delta(index: u64, delta: &Value) -> String {
    event(&json!({ "type": "content_block_delta", "index": index, "delta": delta }))
}

fn words(index: u64, text: &str) -> String {
    delta(index, &json!({ "type": "text_delta", "text": text }))
}

fn json_piece(index: u64, text: &str) -> String {
    delta(index, &json!({ "type": "input_json_delta", "partial_json": text }))
}

fn stop(index: u64) -> String {
    event(&json!({ "type": "content_block_stop", "index": index }))
}

fn end(reason: &str) -> String {
    let delta = json!({ "stop_reason": reason, "stop_sequence": null });
    event(&json!({ "type": "message_delta", "delta": delta, "usage": { "output_tokens": 15 } }))
        + &event(&json!({ "type": "message_stop" }))
}

fn hello() -> String {
    start() + &block(0, &json!({ "type": "text", "text": "" })) + &words(0, "Grüß") + &words(0, " 好") + &stop(0)
}

#[tokio::test]
async fn a_reply_streams_and_what_follows_its_end_is_passed_over() {
    let answer = hello() + &end("end_turn") + "data: junk after the end\n\n";
    assert_eq!(chat(vec![send(SSE), send(answer)]).await, ("Grüß 好".into(), None));
    assert_eq!(chat(vec![send(SSE), send(hello() + &end("max_tokens"))]).await, ("Grüß 好✂".into(), None));
}

#[tokio::test]
async fn a_reply_is_whole_however_slowly_it_comes_and_wherever_a_character_is_cut() {
    let answer = hello() + &end("end_turn");
    let mut script = vec![send(SSE)];
    for bytes in answer.as_bytes().chunks(7) {
        script.extend([send(bytes), Act::Wait(1)]);
    }
    assert_eq!(chat(script).await, ("Grüß 好".into(), None));
}

#[tokio::test]
async fn a_reply_that_is_cut_in_mid_word_is_an_error_after_its_words() {
    let begun = start() + &block(0, &json!({ "type": "text", "text": "" })) + &words(0, "Hel");
    let (text, error) = chat(vec![send(SSE), send(begun.clone())]).await;
    assert_eq!((text.as_str(), error.unwrap().kind), ("Hel", ErrorKind::Unavailable), "between events");
    let (text, error) = chat(vec![send(SSE), send(begun.clone() + "event: content_block_delta\ndata: {\"ty")]).await;
    assert_eq!((text.as_str(), error.unwrap().kind), ("Hel", ErrorKind::BadAnswer), "within an event");
    let (text, error) = chat(vec![send(SSE), send(begun + "data: garbage\n\n")]).await;
    assert_eq!((text.as_str(), error.unwrap().kind), ("Hel", ErrorKind::BadAnswer));
}

#[tokio::test]
async fn several_calls_are_put_together_from_their_pieces() {
    let calls = start()
        + &block(0, &json!({ "type": "text", "text": "" }))
        + &words(0, "One moment. ")
        + &stop(0)
        + &block(1, &json!({ "type": "tool_use", "id": "toolu_1", "name": "lamp", "input": {} }))
        + &json_piece(1, "")
        + &json_piece(1, "{\"on\":")
        + &json_piece(1, "true}")
        + &stop(1)
        + &block(2, &json!({ "type": "tool_use", "id": "toolu_2", "name": "fan", "input": {} }))
        + &json_piece(2, "")
        + &stop(2)
        + &block(3, &json!({ "type": "server_tool_use", "id": "srvtoolu_3", "name": "web_search", "input": {} }))
        + &json_piece(3, "{\"query\":1}")
        + &stop(3);
    let whole = "One moment. [toolu_1 lamp {\"on\":true}][toolu_2 fan ]";
    assert_eq!(chat(vec![send(SSE), send(calls.clone() + &end("tool_use"))]).await, (whole.into(), None));
    let (text, error) = chat(vec![send(SSE), send(calls)]).await;
    assert_eq!((text.as_str(), error.unwrap().kind), ("One moment. ", ErrorKind::Unavailable), "half a call is none");
    let many: String = (0..40).map(|n| block(n, &json!({ "type": "tool_use", "id": "i", "name": "x" }))).collect();
    assert_eq!(chat_error(vec![send(SSE), send(many)]).await.kind, ErrorKind::BadAnswer);
}

#[tokio::test]
async fn a_model_that_refuses_has_not_answered() {
    let error = chat_error(vec![send(SSE), send(start() + &end("refusal"))]).await;
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::BadRequest, "the model refused to answer"));
}

#[tokio::test]
async fn each_refusal_has_its_kind_and_none_repeats_the_key() {
    let body = |kind: &str, text: &str| {
        json!({ "type": "error", "error": { "type": kind, "message": text }, "request_id": "req_1" }).to_string()
    };
    let quoted = body("authentication_error", &format!("invalid x-api-key: {KEY}"));
    let error = chat_error(vec![plain("401 Unauthorized", "", &quoted)]).await;
    assert_eq!(error.kind, ErrorKind::Unauthorized);
    assert_eq!(error.message, "status 401: invalid x-api-key: ***");
    let slow = plain("429 Too Many Requests", "retry-after: 17\r\n", &body("rate_limit_error", "slow down"));
    let error = chat_error(vec![slow]).await;
    assert_eq!((error.kind, error.retry_after), (ErrorKind::RateLimited, Some(Duration::from_secs(17))));
    for (status, body, kind) in [
        ("400 Bad Request", body("invalid_request_error", "max_tokens: too large"), ErrorKind::BadRequest),
        ("403 Forbidden", body("permission_error", "no"), ErrorKind::Unauthorized),
        ("404 Not Found", body("not_found_error", "model: claude-test"), ErrorKind::BadRequest),
        ("500 Internal Server Error", body("api_error", "Internal server error"), ErrorKind::Internal),
        ("500 Internal Server Error", "<html>".into(), ErrorKind::Internal),
        ("529 Overloaded", body("overloaded_error", "Overloaded"), ErrorKind::Unavailable),
    ] {
        assert_eq!(chat_error(vec![plain(status, "", &body)]).await.kind, kind, "{status} {body}");
    }
}

#[tokio::test]
async fn an_error_in_mid_stream_comes_after_the_words_and_has_its_kind() {
    for (kind, expected) in [
        ("overloaded_error", ErrorKind::Unavailable),
        ("rate_limit_error", ErrorKind::RateLimited),
        ("authentication_error", ErrorKind::Unauthorized),
        ("invalid_request_error", ErrorKind::BadRequest),
        ("api_error", ErrorKind::Internal),
        ("something_new", ErrorKind::Internal),
    ] {
        let error = event(&json!({ "type": "error", "error": { "type": kind, "message": "it broke" } }));
        let (text, error) = chat(vec![send(SSE), send(hello() + &error)]).await;
        let error = error.unwrap();
        assert_eq!((text.as_str(), error.kind, error.message.as_str()), ("Grüß 好", expected, "it broke"));
    }
}

#[tokio::test]
async fn what_is_no_answer_is_said_to_be_none() {
    for garbage in [
        "data: \u{0}\n\n",
        "data: {\"x\":1}\n\n",
        "data: []\n\n",
        "data: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"tool_use\"}}\n\n",
        "{\"type\":\"message\",\"content\":[]}",
    ] {
        assert_eq!(chat_error(vec![send(SSE), send(garbage)]).await.kind, ErrorKind::BadAnswer, "{garbage}");
    }
    assert_eq!(chat_error(vec![send(SSE), send(b"data: \xff\xff\n\n")]).await.kind, ErrorKind::BadAnswer);
    assert_eq!(chat_error(vec![send(SSE)]).await.kind, ErrorKind::BadAnswer, "nothing");
    assert_eq!(chat_error(vec![send("SSH-2.0-OpenSSH\r\n")]).await.kind, ErrorKind::Unavailable);
}

#[tokio::test]
async fn silence_ends_with_a_timeout_that_says_what_was_awaited() {
    let error = chat_error(vec![Act::Hang]).await;
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Timeout, "no answer within 300ms"));
    let (text, error) = chat(vec![send(SSE), send(hello()), Act::Hang]).await;
    let error = error.unwrap();
    assert_eq!((text.as_str(), error.kind), ("Grüß 好", ErrorKind::Timeout));
    assert_eq!(error.message, "no next piece within 300ms");
}

#[tokio::test]
async fn a_question_has_its_instructions_apart_and_marks_what_is_kept() {
    let (url, mut requests) = serve(vec![send(SSE), send(hello() + &end("end_turn"))]).await;
    let chat = model(&url);
    assert!(!format!("{chat:?}").contains(KEY));
    said(&chat, ask()).await;
    let (head, body) = asked(&mut requests).await;
    let head = head.to_lowercase();
    assert!(head.starts_with("post /v1/messages http/1.1"), "{head}");
    assert!(head.contains(&format!("x-api-key: {KEY}")) && head.contains("anthropic-version: 2023-06-01"), "{head}");
    let kept = json!({ "type": "ephemeral" });
    let expected = json!({
        "model": "claude-test", "max_tokens": 64, "stream": true, "temperature": 0.5,
        "system": [{ "type": "text", "text": "Be brief.", "cache_control": kept }],
        "messages": [{ "role": "user", "content": [{ "type": "text", "text": "hi" }] }],
    });
    assert_eq!(body, expected);

    said(&chat, talk(["toolu_1", "toolu_2"])).await;
    let (_, body) = asked(&mut requests).await;
    let expected = json!([
        { "role": "user", "content": [{ "type": "text", "text": "(The conversation so far.)" }] },
        { "role": "assistant", "content": [{ "type": "text", "text": "Good morning." }] },
        { "role": "user", "content": [
            { "type": "image", "source": { "type": "base64", "media_type": "image/jpeg", "data": "/9g=" } },
            { "type": "text", "text": "what is this" },
        ] },
        { "role": "assistant", "content": [
            { "type": "tool_use", "id": "toolu_1", "name": "lamp", "input": { "on": true } },
            { "type": "tool_use", "id": "toolu_2", "name": "fan", "input": {} },
        ] },
        { "role": "user", "content": [
            { "type": "tool_result", "tool_use_id": "toolu_1", "content": "done" },
            { "type": "tool_result", "tool_use_id": "toolu_2", "content": "error: the arguments are no JSON object" },
        ] },
    ]);
    assert_eq!(body["messages"], expected);
    assert_eq!(body["max_tokens"], 1_024, "the service wants a limit");
    let tools = json!([
        { "name": "lamp", "description": "The lamp", "input_schema": { "type": "object" } },
        { "name": "fan", "description": "The fan", "input_schema": { "type": "object" }, "cache_control": kept },
    ]);
    assert_eq!(body["tools"], tools);
}

#[tokio::test]
async fn a_model_that_takes_no_temperature_is_asked_once_more_without_and_never_with_it_again() {
    let refusal = json!({ "type": "error", "error": { "type": "invalid_request_error",
        "message": "`temperature` is deprecated for this model." } });
    let (url, mut requests) = serve(vec![plain("400 Bad Request", "", &refusal.to_string())]).await;
    let chat = model(&url);
    for _ in 0..2 {
        let (_, error) = said(&chat, ask()).await;
        assert_eq!(error.unwrap().kind, ErrorKind::BadRequest, "this service refuses whatever it is asked");
    }
    let mut temperatures = Vec::new();
    while let Ok(request) = requests.try_recv() {
        temperatures.push(String::from_utf8(request).unwrap().contains("\"temperature\""));
    }
    assert_eq!(temperatures, [true, false, false]);
}
