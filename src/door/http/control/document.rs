//! The OpenAPI 3.1 document, made of the table of endpoints.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::Api;
use super::endpoint::Endpoint;
use super::fault::Failure;
use crate::admin::Role;

/// Where it is served, to everybody: it holds nothing that the source does not.
pub(super) const PATH: &str = "/v1/openapi.json";

/// What may come instead of an answer.
const FAILURES: [(&str, &str); 11] = [
    ("400", "The request makes no sense: its JSON, its fields, its nonce or timestamp"),
    ("401", "No token, or one that does not fit"),
    ("403", "The operator's role does not allow it, or a web page of elsewhere asks"),
    ("404", "There is no such device, operation or endpoint"),
    ("405", "The endpoint has other methods"),
    ("409", "The state of things does not allow it, or the nonce was used before"),
    ("413", "The body is too large"),
    ("429", "Too many requests; Retry-After says when to come again"),
    ("500", "A fault of the gateway's"),
    ("503", "The gateway or its store cannot do it now"),
    ("504", "No answer in time; what was asked may still be done"),
];

/// The whole document.
pub(super) fn document(endpoints: &[Endpoint]) -> Value {
    let mut generator: SchemaGenerator = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
        .into_generator();
    let mut paths = Map::new();
    for endpoint in endpoints {
        let described = operation(endpoint, &mut generator);
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.method.as_str().to_ascii_lowercase()] = described;
    }
    let failure = generator.subschema_for::<Failure>();
    let responses: Map<String, Value> = FAILURES
        .iter()
        .map(|(code, why)| {
            let body = json!({"description": why, "content": {"application/json": {"schema": failure}}});
            ((*code).to_owned(), body)
        })
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Voxgate control API",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Devices, their operations and the state of a gateway. All times are milliseconds since \
                            1970-01-01 UTC, 0 for never. A token is NAME.SECRET of an operator.",
        },
        "security": [{"bearer": []}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": responses,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
            },
        },
    })
}

fn operation(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = Vec::new();
    if endpoint.path.contains("{id}") {
        parameters.push(json!({
            "name": "id", "in": "path", "required": true,
            "schema": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z0-9_.:-]+$"},
        }));
    }
    let input = (endpoint.input)(generator).to_value();
    let mut described = json!({
        "summary": endpoint.summary,
        "description": format!("For the role {} and above.", role(endpoint.role)),
        "operationId": operation_id(endpoint),
        "tags": [endpoint.path.split('/').nth(2).unwrap_or_default()],
    });
    if endpoint.method == Method::GET {
        parameters.extend(query(&resolve(&input, generator)));
    } else {
        described["requestBody"] = json!({"required": false, "content": {"application/json": {"schema": input}}});
    }
    if !parameters.is_empty() {
        described["parameters"] = Value::Array(parameters);
    }
    let answer = (endpoint.answer)(generator);
    let mut responses = Map::new();
    responses.insert("200".into(), json!({"description": "Done", "content": {"application/json": {"schema": answer}}}));
    for (code, _) in FAILURES {
        responses.insert(code.into(), json!({"$ref": format!("#/components/responses/{code}")}));
    }
    described["responses"] = Value::Object(responses);
    described
}

fn role(role: Role) -> &'static str {
    role.name()
}

/// `post_v1_device_register`.
fn operation_id(endpoint: &Endpoint) -> String {
    let path = endpoint.path.replace(['/', '-'], "_").replace(['{', '}'], "");
    format!("{}{path}", endpoint.method.as_str().to_ascii_lowercase())
}

/// The schema behind a reference to a definition.
fn resolve(schema: &Value, generator: &SchemaGenerator) -> Value {
    let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    name.and_then(|name| generator.definitions().get(name)).cloned().unwrap_or_else(|| schema.clone())
}

/// The properties of the input as parameters.
fn query(schema: &Value) -> Vec<Value> {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let parameter = |(name, schema): (&String, &Value)| {
        let about = schema["description"].as_str().unwrap_or_default();
        json!({
            "name": name, "in": "query", "required": required.contains(&name.as_str()), "description": about,
            "schema": schema,
        })
    };
    schema["properties"].as_object().into_iter().flatten().map(parameter).collect()
}

/// Serves it.
pub(super) async fn serve(State(api): State<Arc<Api>>) -> Response {
    Json(&*api.document).into_response()
}
