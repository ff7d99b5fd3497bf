//! What servers that speak OpenAI's form make of it, each in the shape of its documentation.

use serde_json::{Value, json};
use voxgate::provider::http::Headers;
use voxgate::provider::openai::OpenAiChat;
use voxgate::provider::{ErrorKind, ProviderError};

use crate::scripted::{Act, KEY, SSE, plain, send, serve};
use crate::{ask, said, target};

fn model(url: &str) -> OpenAiChat {
    OpenAiChat::new(target(url, Headers::new().bearer(KEY), "m"))
}

async fn chat(script: Vec<Act>) -> (String, Option<ProviderError>) {
    let (url, _requests) = serve(script).await;
    said(&model(&url), ask()).await
}

/// The events of a stream, one after the other.
fn events(events: &[Value]) -> Act {
    send(events.iter().map(|event| format!("data: {event}\n\n")).collect::<Vec<_>>().concat())
}

fn delta(delta: &Value) -> Value {
    json!({ "object": "chat.completion.chunk", "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] })
}

fn end(reason: &str) -> Value {
    json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] })
}

async fn failed(answer: Act) -> (ErrorKind, String) {
    let error = chat(vec![answer]).await.1.unwrap();
    (error.kind, error.message)
}

/// The keys of the questions that a server had, of those that it may refuse.
fn keys(requests: &mut tokio::sync::mpsc::Receiver<Vec<u8>>) -> Vec<String> {
    let mut all = Vec::new();
    while let Ok(request) = requests.try_recv() {
        let text = String::from_utf8(request).unwrap();
        let body: Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
        let has = |key: &&str| body.get(*key).is_some();
        all.push(
            ["max_tokens", "max_completion_tokens", "temperature"]
                .into_iter()
                .filter(has)
                .collect::<Vec<_>>()
                .join(" "),
        );
    }
    all
}

fn refusal(message: &str, param: &str, code: &str) -> Act {
    let error = json!({ "message": message, "type": "invalid_request_error", "param": param, "code": code });
    plain("400 Bad Request", "", &json!({ "error": error }).to_string())
}

#[tokio::test]
async fn openai_models_that_think_are_asked_once_more_in_their_words_and_so_from_then_on() {
    let tokens =
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
    let (url, mut requests) = serve(vec![refusal(tokens, "max_tokens", "unsupported_parameter")]).await;
    let chat = model(&url);
    for _ in 0..2 {
        let (_, error) = said(&chat, ask()).await;
        assert_eq!(error.unwrap().kind, ErrorKind::BadRequest, "this service refuses whatever it is asked");
    }
    let new = "max_completion_tokens temperature";
    assert_eq!(keys(&mut requests), ["max_tokens temperature", new, new]);

    let warm = "Unsupported value: 'temperature' does not support 0.5 with this model. Only the default (1) value is supported.";
    let (url, mut requests) = serve(vec![refusal(warm, "temperature", "unsupported_value")]).await;
    let chat = model(&url);
    for _ in 0..2 {
        said(&chat, ask()).await.1.unwrap();
    }
    assert_eq!(keys(&mut requests), ["max_tokens temperature", "max_tokens", "max_tokens"]);
}

#[tokio::test]
async fn openai_models_that_refuse_both_are_asked_a_third_time_and_no_fourth() {
    let both =
        "'max_tokens' and 'temperature' are not supported: use 'max_completion_tokens' and the default temperature";
    let (url, mut requests) = serve(vec![refusal(both, "max_tokens", "unsupported_parameter")]).await;
    said(&model(&url), ask()).await.1.unwrap();
    assert_eq!(
        keys(&mut requests),
        ["max_tokens temperature", "max_completion_tokens temperature", "max_completion_tokens"]
    );
}

#[tokio::test]
async fn another_refusal_is_no_reason_to_ask_again() {
    let large = refusal("max_tokens is too large: 64", "max_tokens", "invalid_value");
    let down = plain("500 Internal Server Error", "", "{\"error\":{\"message\":\"temperature of the machine\"}}");
    for act in [large, down] {
        let (url, mut requests) = serve(vec![act]).await;
        said(&model(&url), ask()).await.1.unwrap();
        assert_eq!(keys(&mut requests), ["max_tokens temperature"]);
    }
}

#[tokio::test]
async fn openai_answers_that_are_blocked_say_so_after_their_words() {
    let script = vec![send(SSE), events(&[delta(&json!({ "content": "Well" })), end("content_filter")])];
    let (text, error) = chat(script).await;
    let error = error.unwrap();
    assert_eq!((text.as_str(), error.kind), ("Well", ErrorKind::BadRequest));
    assert_eq!(error.message, "the answer was blocked: content_filter");
}

#[tokio::test]
async fn ollama_thoughts_are_not_said_and_a_model_that_is_not_there_is_named() {
    let pieces = [
        delta(&json!({ "role": "assistant", "content": "", "reasoning": "The user says hi." })),
        delta(&json!({ "role": "assistant", "content": "Hello." })),
        end("stop"),
    ];
    assert_eq!(chat(vec![send(SSE), events(&pieces), send("data: [DONE]\n\n")]).await, ("Hello.".into(), None));
    let tagged = ["<thi", "nk>\nhm", "\n</think>\n", "\nHel", "lo."].map(|text| delta(&json!({ "content": text })));
    assert_eq!(chat(vec![send(SSE), events(&tagged), events(&[end("stop")])]).await, ("Hello.".into(), None));
    let missing = json!({ "error": { "message": "model \"m\" not found, try pulling it first", "type": "api_error",
        "param": null, "code": null } });
    let (kind, message) = failed(plain("404 Not Found", "", &missing.to_string())).await;
    assert_eq!((kind, message.contains("try pulling it first")), (ErrorKind::BadRequest, true), "{message}");
}

#[tokio::test]
async fn thoughts_that_take_all_tokens_are_an_answer_that_was_cut() {
    let pieces = [delta(&json!({ "content": "<think>hm" })), end("length")];
    assert_eq!(chat(vec![send(SSE), events(&pieces)]).await, ("✂".into(), None));
    let (text, error) = chat(vec![send(SSE), events(&[delta(&json!({ "content": "<think>hm" }))])]).await;
    assert_eq!((text.as_str(), error.unwrap().kind), ("", ErrorKind::Unavailable), "they broke off");
}

#[tokio::test]
async fn vllm_errors_are_read_in_both_of_their_forms() {
    let old = json!({ "object": "error", "message": "the context is 4096 tokens", "type": "BadRequestError", "param": null,
        "code": 400 });
    let (kind, message) = failed(plain("400 Bad Request", "", &old.to_string())).await;
    assert_eq!((kind, message.as_str()), (ErrorKind::BadRequest, "status 400: the context is 4096 tokens"));
    let new =
        json!({ "error": { "message": "EngineCore died", "type": "InternalServerError", "param": null, "code": 500 } });
    for error in [old, new] {
        let (text, failed) = chat(vec![send(SSE), events(&[delta(&json!({ "content": "Hel" })), error])]).await;
        let failed = failed.unwrap();
        assert_eq!(text, "Hel");
        assert!(matches!(failed.kind, ErrorKind::BadRequest | ErrorKind::Internal), "{failed}");
    }
    let thoughts = [delta(&json!({ "reasoning_content": "hm" })), delta(&json!({ "content": "Hi" })), end("stop")];
    assert_eq!(chat(vec![send(SSE), events(&thoughts)]).await, ("Hi".into(), None));
}

#[tokio::test]
async fn llama_cpp_that_still_loads_its_model_is_not_there_yet() {
    let loading = json!({ "error": { "code": 503, "message": "Loading model", "type": "unavailable_error" } });
    let (kind, message) = failed(plain("503 Service Unavailable", "", &loading.to_string())).await;
    assert_eq!((kind, message.as_str()), (ErrorKind::Unavailable, "status 503: Loading model"));
    let first = delta(&json!({ "role": "assistant", "content": null }));
    let last = json!({ "choices": [], "usage": { "total_tokens": 3 }, "timings": { "predicted_ms": 20.5 } });
    let pieces = [first, delta(&json!({ "content": "Hi" })), end("stop"), last];
    assert_eq!(chat(vec![send(SSE), events(&pieces), send("data: [DONE]\n\n")]).await, ("Hi".into(), None));
}

#[tokio::test]
async fn deepseek_thinks_aloud_keeps_the_line_open_and_says_when_the_money_is_gone() {
    let pieces = [
        delta(&json!({ "role": "assistant", "content": null, "reasoning_content": "They greet" })),
        delta(&json!({ "content": null, "reasoning_content": " me." })),
        delta(&json!({ "content": "Hi.", "reasoning_content": null })),
        end("stop"),
    ];
    let script = vec![send(SSE), send(": keep-alive\n\n"), Act::Wait(20), events(&pieces), send("data: [DONE]\n\n")];
    assert_eq!(chat(script).await, ("Hi.".into(), None));
    let poor = json!({ "error": { "message": "Insufficient Balance", "type": "unknown_error", "param": null,
        "code": "invalid_request_error" } });
    let (kind, message) = failed(plain("402 Payment Required", "", &poor.to_string())).await;
    assert_eq!((kind, message.as_str()), (ErrorKind::RateLimited, "status 402: Insufficient Balance"));
    let (_, error) = chat(vec![send(SSE), events(&[end("insufficient_system_resource")])]).await;
    assert_eq!(error.unwrap().kind, ErrorKind::Unavailable);
}

#[tokio::test]
async fn dashscope_ends_with_a_piece_that_counts_tokens() {
    let usage = json!({ "choices": [], "object": "chat.completion.chunk", "usage": { "total_tokens": 20 } });
    let pieces = [
        delta(&json!({ "content": "", "role": "assistant" })),
        delta(&json!({ "content": "你好" })),
        end("stop"),
        usage,
    ];
    assert_eq!(chat(vec![send(SSE), events(&pieces), send("data: [DONE]\n\n")]).await, ("你好".into(), None));
    let key = json!({ "error": { "message": "Incorrect API key provided.", "type": "invalid_request_error", "param": null,
        "code": "invalid_api_key" }, "request_id": "x" });
    assert_eq!(failed(plain("401 Unauthorized", "", &key.to_string())).await.0, ErrorKind::Unauthorized);
}

#[tokio::test]
async fn zhipu_blocks_with_a_reason_and_counts_in_codes_of_its_own() {
    let pieces = [delta(&json!({ "role": "assistant", "content": "我" })), end("sensitive")];
    let (text, error) = chat(vec![send(SSE), events(&pieces)]).await;
    assert_eq!((text.as_str(), error.unwrap().kind), ("我", ErrorKind::BadRequest));
    let many = json!({ "error": { "code": "1302", "message": "您的账户已达到速率限制" } });
    let (kind, message) = failed(plain("429 Too Many Requests", "", &many.to_string())).await;
    assert_eq!((kind, message.as_str()), (ErrorKind::RateLimited, "status 429: 您的账户已达到速率限制"));
}

#[tokio::test]
async fn groq_writes_beside_its_pieces_what_is_passed_over() {
    let mut first = delta(&json!({ "role": "assistant", "content": "" }));
    first["x_groq"] = json!({ "id": "req_1" });
    let mut last = end("stop");
    last["x_groq"] = json!({ "id": "req_1", "usage": { "total_time": 0.03 } });
    let pieces = [first, delta(&json!({ "content": "Hi" })), last];
    assert_eq!(chat(vec![send(SSE), events(&pieces), send("data: [DONE]\n\n")]).await, ("Hi".into(), None));
    let many = json!({ "error": { "message": "Rate limit reached", "type": "tokens", "code": "rate_limit_exceeded" } });
    let (url, _requests) = serve(vec![plain("429 Too Many Requests", "retry-after: 7\r\n", &many.to_string())]).await;
    let error = said(&model(&url), ask()).await.1.unwrap();
    assert_eq!((error.kind, error.retry_after.map(|after| after.as_secs())), (ErrorKind::RateLimited, Some(7)));
}

#[tokio::test]
async fn xai_says_its_errors_beside_a_code_in_words() {
    let wrong = json!({ "code": "Client specified an invalid argument", "error": "Model not found: m" });
    let (kind, message) = failed(plain("400 Bad Request", "", &wrong.to_string())).await;
    assert_eq!((kind, message.as_str()), (ErrorKind::BadRequest, "status 400: Model not found: m"));
    let pieces = [
        delta(&json!({ "reasoning_content": "hm", "role": "assistant" })),
        delta(&json!({ "content": "Hi" })),
        end("stop"),
    ];
    assert_eq!(chat(vec![send(SSE), events(&pieces), send("data: [DONE]\n\n")]).await, ("Hi".into(), None));
}

#[tokio::test]
async fn openrouter_says_that_it_works_and_breaks_off_with_an_error_in_the_stream() {
    let busy = send(": OPENROUTER PROCESSING\n\n");
    let script = vec![
        send(SSE),
        busy.clone(),
        Act::Wait(250),
        busy.clone(),
        Act::Wait(250),
        events(&[delta(&json!({ "content": "Hi", "reasoning": null })), end("stop")]),
        send("data: [DONE]\n\n"),
    ];
    assert_eq!(chat(script).await, ("Hi".into(), None), "longer than the patience between two pieces");
    let broken = json!({ "id": "x", "error": { "code": 502, "message": "Provider disconnected" },
        "choices": [{ "index": 0, "delta": { "content": "" }, "finish_reason": "error" }] });
    let (text, error) = chat(vec![send(SSE), busy, events(&[delta(&json!({ "content": "Hel" })), broken])]).await;
    let error = error.unwrap();
    assert_eq!((text.as_str(), error.kind), ("Hel", ErrorKind::Unavailable));
    assert_eq!(error.message, "Provider disconnected");
}
