//! Google's Gemini API.

use std::time::Duration;

use serde_json::{Value, json};
use voxgate::provider::gemini::{GeminiChat, headers};
use voxgate::provider::{ChatMessage, ChatRequest, ErrorKind, ProviderError, ToolCall};

use crate::scripted::{Act, KEY, SSE, plain, send, serve};
use crate::{ask, asked, said, talk, target};

fn model(url: &str) -> GeminiChat {
    GeminiChat::new(target(url, headers(Some(KEY)), "gemini-test"))
}

async fn chat(script: Vec<Act>) -> (String, Option<ProviderError>) {
    let (url, _requests) = serve(script).await;
    said(&model(&url), ask()).await
}

async fn chat_error(script: Vec<Act>) -> ProviderError {
    chat(script).await.1.unwrap()
}

/// A piece as the service writes it: with carriage returns.
fn piece(parts: &Value, reason: Option<&str>) -> String {
    let mut candidate = json!({ "content": { "parts": parts, "role": "model" }, "index": 0 });
    if let Some(reason) = reason {
        candidate["finishReason"] = reason.into();
    }
    let usage = json!({ "promptTokenCount": 4, "totalTokenCount": 9 });
    let value = json!({ "candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-test" });
    format!("data: {value}\r\n\r\n")
}

fn words(text: &str) -> String {
    piece(&json!([{ "text": text }]), None)
}

fn end(reason: &str) -> String {
    piece(&json!([{ "text": "" }]), Some(reason))
}

#[tokio::test]
async fn a_reply_streams_and_thoughts_are_not_said() {
    let thought = piece(&json!([{ "text": "They greet me.", "thought": true }]), None);
    let usage = "data: {\"usageMetadata\":{\"promptTokenCount\":4}}\r\n\r\n";
    let answer = thought + &words("Grüß") + &words(" 好") + &end("STOP") + usage;
    assert_eq!(chat(vec![send(SSE), send(answer)]).await, ("Grüß 好".into(), None));
    assert_eq!(chat(vec![send(SSE), send(words("Hi") + &end("MAX_TOKENS"))]).await, ("Hi✂".into(), None));
    let no_content = "data: {\"candidates\":[{\"finishReason\":\"STOP\",\"index\":0}]}\r\n\r\n";
    assert_eq!(chat(vec![send(SSE), send(words("Hi") + no_content)]).await, ("Hi".into(), None));
}

#[tokio::test]
async fn a_reply_is_whole_however_slowly_it_comes_and_wherever_a_character_is_cut() {
    let answer = words("Grüß") + &words(" 好") + &end("STOP");
    let mut script = vec![send(SSE)];
    for bytes in answer.as_bytes().chunks(5) {
        script.extend([send(bytes), Act::Wait(1)]);
    }
    assert_eq!(chat(script).await, ("Grüß 好".into(), None));
}

#[tokio::test]
async fn a_reply_that_is_cut_in_mid_word_is_an_error_after_its_words() {
    let (text, error) = chat(vec![send(SSE), send(words("Hel"))]).await;
    assert_eq!((text.as_str(), error.unwrap().kind), ("Hel", ErrorKind::Unavailable), "between pieces");
    let (text, error) = chat(vec![send(SSE), send(words("Hel") + "data: {\"candi")]).await;
    assert_eq!((text.as_str(), error.unwrap().kind), ("Hel", ErrorKind::BadAnswer), "within a piece");
}

#[tokio::test]
async fn calls_have_ids_of_their_own_and_go_back_as_they_came() {
    let parts = json!([
        { "text": "One moment. " },
        { "functionCall": { "name": "lamp", "args": { "on": true } }, "thoughtSignature": "c2lnbmVk" },
        { "functionCall": { "id": "fc_2", "name": "fan", "args": {} } },
    ]);
    let (url, mut requests) = serve(vec![send(SSE), send(piece(&parts, None) + &end("STOP"))]).await;
    let chat = model(&url);
    let (text, error) = said(&chat, ask()).await;
    assert_eq!(error, None);
    assert_eq!(text, "One moment. [voxgate-1 lamp {\"on\":true}][fc_2 fan {}]");
    asked(&mut requests).await;

    let lamp = ToolCall { id: "voxgate-1".into(), name: "lamp".into(), arguments: "{\"on\":true}".into() };
    let fan = ToolCall { id: "fc_2".into(), name: "fan".into(), arguments: "{}".into() };
    let messages = vec![
        ChatMessage::new(voxgate::provider::Role::User, "light"),
        ChatMessage::calling("One moment. ", vec![lamp.clone(), fan.clone()]),
        ChatMessage::answering(&lamp, "done"),
        ChatMessage::answering(&fan, "slow"),
    ];
    let (text, _) = said(&chat, ChatRequest { messages, ..ChatRequest::default() }).await;
    assert!(text.contains("[voxgate-2 lamp "), "the next call is another: {text}");
    let (_, body) = asked(&mut requests).await;
    let expected = json!([
        { "role": "user", "parts": [{ "text": "light" }] },
        { "role": "model", "parts": [
            { "text": "One moment. " },
            { "functionCall": { "name": "lamp", "args": { "on": true } }, "thoughtSignature": "c2lnbmVk" },
            { "functionCall": { "name": "fan", "args": {}, "id": "fc_2" } },
        ] },
        { "role": "user", "parts": [
            { "functionResponse": { "name": "lamp", "response": { "output": "done" } } },
            { "functionResponse": { "name": "fan", "response": { "output": "slow" }, "id": "fc_2" } },
        ] },
    ]);
    assert_eq!(body["contents"], expected);
}

#[tokio::test]
async fn more_calls_than_anybody_makes_are_no_answer() {
    let many: Vec<Value> = (0..40).map(|_| json!({ "functionCall": { "name": "x", "args": {} } })).collect();
    assert_eq!(chat_error(vec![send(SSE), send(piece(&many.into(), None))]).await.kind, ErrorKind::BadAnswer);
}

#[tokio::test]
async fn what_is_blocked_is_said_to_be() {
    let question = "data: {\"promptFeedback\":{\"blockReason\":\"PROHIBITED_CONTENT\"},\"usageMetadata\":{}}\r\n\r\n";
    let error = chat_error(vec![send(SSE), send(question)]).await;
    assert_eq!(error.kind, ErrorKind::BadRequest);
    assert_eq!(error.message, "the question was blocked: PROHIBITED_CONTENT");
    let (text, error) = chat(vec![send(SSE), send(words("Take ") + &end("SAFETY"))]).await;
    let error = error.unwrap();
    assert_eq!((text.as_str(), error.kind), ("Take ", ErrorKind::BadRequest));
    assert_eq!(error.message, "the answer was blocked: SAFETY");
    let error = chat_error(vec![send(SSE), send(end("MALFORMED_FUNCTION_CALL"))]).await;
    assert_eq!(error.kind, ErrorKind::BadAnswer);
    assert_eq!(error.message, "the answer ended with MALFORMED_FUNCTION_CALL");
}

#[tokio::test]
async fn each_refusal_has_its_kind_and_none_repeats_the_key() {
    let body = |code: u16, status: &str, text: &str, details: Value| {
        json!({ "error": { "code": code, "message": text, "status": status, "details": details } }).to_string()
    };
    let reason = json!([{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID" }]);
    let wrong = body(400, "INVALID_ARGUMENT", &format!("API key not valid: {KEY}"), reason);
    let error = chat_error(vec![plain("400 Bad Request", "", &wrong)]).await;
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Unauthorized, "status 400: API key not valid: ***"));
    let wait = json!([{ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s" }]);
    let slow = body(429, "RESOURCE_EXHAUSTED", "quota", wait);
    let error = chat_error(vec![plain("429 Too Many Requests", "", &slow)]).await;
    assert_eq!((error.kind, error.retry_after), (ErrorKind::RateLimited, Some(Duration::from_secs(17))));
    let error = chat_error(vec![plain("429 Too Many Requests", "retry-after: 3\r\n", "{}")]).await;
    assert_eq!((error.kind, error.retry_after), (ErrorKind::RateLimited, Some(Duration::from_secs(3))));
    for (status, code, kind) in [
        ("400 Bad Request", 400, ErrorKind::BadRequest),
        ("403 Forbidden", 403, ErrorKind::Unauthorized),
        ("404 Not Found", 404, ErrorKind::BadRequest),
        ("500 Internal Server Error", 500, ErrorKind::Internal),
        ("503 Service Unavailable", 503, ErrorKind::Unavailable),
    ] {
        let error = chat_error(vec![plain(status, "", &body(code, "X", "no", json!([])))]).await;
        assert_eq!(error.kind, kind, "{status}");
        let stream = format!("data: {}\r\n\r\n", body(code, "X", "no", json!([])));
        let (text, error) = chat(vec![send(SSE), send(words("Hel") + &stream)]).await;
        assert_eq!((text.as_str(), error.unwrap().kind), ("Hel", kind), "{status} in mid-stream");
    }
}

#[tokio::test]
async fn what_is_no_answer_is_said_to_be_none() {
    for garbage in ["data: \u{0}\n\n", "data: {\"x\":1}\n\n", "data: 7\n\n", "{\"candidates\":"] {
        assert_eq!(chat_error(vec![send(SSE), send(garbage)]).await.kind, ErrorKind::BadAnswer, "{garbage}");
    }
    assert_eq!(chat_error(vec![send(SSE), send(b"data: \xff\xff\n\n")]).await.kind, ErrorKind::BadAnswer);
    assert_eq!(chat_error(vec![send(SSE)]).await.kind, ErrorKind::BadAnswer, "nothing");
}

#[tokio::test]
async fn silence_ends_with_a_timeout_that_says_what_was_awaited() {
    let error = chat_error(vec![Act::Hang]).await;
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Timeout, "no answer within 300ms"));
    let (text, error) = chat(vec![send(SSE), send(words("Hel")), Act::Hang]).await;
    let error = error.unwrap();
    assert_eq!((text.as_str(), error.kind), ("Hel", ErrorKind::Timeout));
    assert_eq!(error.message, "no next piece within 300ms");
}

#[tokio::test]
async fn a_question_has_its_key_in_a_header_and_its_instructions_apart() {
    let (url, mut requests) = serve(vec![send(SSE), send(words("Hi") + &end("STOP"))]).await;
    let chat = model(&url);
    assert!(!format!("{chat:?}").contains(KEY));
    said(&chat, ask()).await;
    let (head, body) = asked(&mut requests).await;
    let (first, rest) = head.split_once("\r\n").unwrap();
    assert_eq!(first, "POST /v1/models/gemini-test:streamGenerateContent?alt=sse HTTP/1.1");
    assert!(rest.to_lowercase().contains(&format!("x-goog-api-key: {KEY}")), "{rest}");
    let expected = json!({
        "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }],
        "systemInstruction": { "parts": [{ "text": "Be brief." }] },
        "generationConfig": { "maxOutputTokens": 64, "temperature": 0.5 },
    });
    assert_eq!(body, expected);

    said(&chat, talk(["voxgate-7", "fc_2"])).await;
    let (_, body) = asked(&mut requests).await;
    let picture = json!({ "inlineData": { "mimeType": "image/jpeg", "data": "/9g=" } });
    assert_eq!(body["contents"][2]["parts"], json!([picture, { "text": "what is this" }]));
    let declared = json!({ "name": "lamp", "description": "The lamp", "parametersJsonSchema": { "type": "object" } });
    assert_eq!(body["tools"][0]["functionDeclarations"][0], declared);
    assert_eq!(body["contents"][3]["parts"][1], json!({ "functionCall": { "name": "fan", "args": {}, "id": "fc_2" } }));
}
