//! Servers of tools, by the Model Context Protocol: programs that are started when a task needs them, or places on the web.
//!
//! The only place that names rmcp. A server that does not answer is no failure of a task: it has no tools then, and is
//! tried again, later and later. What servers say is data, bounded by the caller.

mod child;

use std::time::Duration;

use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::{RoleClient, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::settings::Mcp;
use super::toolbox::DeviceTool;
use crate::provider::http::{Client, Headers};

/// Most tools of one server.
const TOOLS: usize = 64;
/// Longest name, description and parameters (as JSON) that are taken, bytes; longer descriptions are cut.
const NAME: usize = 128;
const DESCRIPTION: usize = 2 << 10;
const PARAMETERS: usize = 8 << 10;
/// Longest event of a server on the web, bytes.
const EVENT: usize = 4 << 20;
/// A server that could not be reached is left alone for so long, twice as long each time.
const REST: Duration = Duration::from_secs(2);
const LONGEST_REST: Duration = Duration::from_mins(1);
/// It has so long to end by itself.
const GRACE: Duration = Duration::from_secs(1);

/// How a server is reached.
enum Way {
    Program(String),
    Web { url: String, client: Client, headers: Headers },
}

/// One server.
pub(in crate::tasks) struct Server {
    settings: Mcp,
    way: Way,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    live: Option<Live>,
    failures: u32,
    not_before: Option<Instant>,
}

struct Live {
    service: RunningService<RoleClient, ()>,
    tools: Vec<DeviceTool>,
    /// Dropped last: the service closes its input first.
    _child: Option<child::Child>,
}

impl Live {
    /// It has ended, or hung up.
    fn is_over(&self) -> bool {
        self.service.is_closed() || self.service.peer().is_transport_closed()
    }
}

impl Server {
    /// A server; nothing is started yet. `secret` is the value of its header.
    pub(in crate::tasks) fn new(settings: &Mcp, client: &Client, secret: Option<String>) -> Self {
        let way = match (&settings.command, &settings.url) {
            (Some(program), _) => Way::Program(program.clone()),
            (None, url) => {
                let headers = secret.map_or_else(Headers::new, |secret| {
                    let bare = settings.header.eq_ignore_ascii_case("authorization") && !secret.contains(' ');
                    let value = if bare { format!("Bearer {secret}") } else { secret };
                    Headers::new().with(settings.header.clone(), value)
                });
                Way::Web { url: url.clone().unwrap_or_default(), client: client.clone(), headers }
            }
        };
        Self { settings: settings.clone(), way, state: Mutex::default() }
    }

    /// Its name.
    pub(in crate::tasks) fn name(&self) -> &str {
        &self.settings.name
    }

    /// Its tools; it is started, or reached, for that. The error is for operators.
    pub(in crate::tasks) async fn tools(&self) -> Result<Vec<DeviceTool>, String> {
        let mut state = self.state.lock().await;
        if let Some(live) = state.live.as_ref().filter(|live| !live.is_over()) {
            return Ok(live.tools.clone());
        }
        state.live = None;
        if state.not_before.is_some_and(|at| at > Instant::now()) {
            return Err("it did not answer a moment ago".to_owned());
        }
        let connected = match timeout(self.settings.start.0, self.connect()).await {
            Ok(connected) => connected,
            Err(_) => Err(format!("it did not answer within {}", self.settings.start)),
        };
        match connected {
            Ok(live) => {
                tracing::info!(server = self.name(), tools = live.tools.len(), "a server of tools answers");
                let tools = live.tools.clone();
                *state = State { live: Some(live), failures: 0, not_before: None };
                Ok(tools)
            }
            Err(error) => {
                tracing::warn!(server = self.name(), error, "a server of tools does not answer");
                let rest = REST.saturating_mul(1 << state.failures.min(8)).min(LONGEST_REST);
                state.failures += 1;
                state.not_before = Some(Instant::now() + rest);
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<Live, String> {
        let (service, child) = match &self.way {
            Way::Program(program) => {
                let started = child::start(&self.settings, program);
                let (child, output, input) = started.map_err(|error| format!("{program}: {error}"))?;
                (rmcp::serve_client((), (output, input)).await, Some(child))
            }
            Way::Web { url, client, headers } => {
                let (client, headers) = client.lend(headers).map_err(|error| error.to_string())?;
                let config = StreamableHttpClientTransportConfig::with_uri(url.as_str());
                let config = config.custom_headers(headers).max_sse_event_size(EVENT);
                (rmcp::serve_client((), StreamableHttpClientTransport::with_client(client, config)).await, None)
            }
        };
        // the library's words may hold what the server said, and no header: those are marked as secrets
        let service = service.map_err(|error| clip(&error.to_string()))?;
        let found = service.list_all_tools().await.map_err(|error| clip(&error.to_string()))?;
        let tools = found.into_iter().filter_map(|tool| self.tool(&tool)).take(TOOLS).collect();
        Ok(Live { service, tools, _child: child })
    }

    fn tool(&self, tool: &rmcp::model::Tool) -> Option<DeviceTool> {
        let wanted = self.settings.tools.is_empty() || self.settings.tools.iter().any(|name| *name == tool.name);
        if !wanted || tool.name.is_empty() || tool.name.len() > NAME {
            return None;
        }
        let description = super::cut(tool.description.as_deref().unwrap_or_default(), DESCRIPTION);
        let parameters = Value::Object(tool.input_schema.as_ref().clone());
        let fits = parameters.to_string().len() <= PARAMETERS;
        fits.then(|| DeviceTool { name: tool.name.to_string(), description, parameters })
    }

    /// Calls a tool; its answer as text, or why there is none, in words for the model.
    pub(in crate::tasks) async fn call(&self, name: &str, arguments: Map<String, Value>) -> Result<String, String> {
        let peer = match &self.state.lock().await.live {
            Some(live) if !live.is_over() => live.service.peer().clone(),
            _ => return Err("the server of this tool is gone".to_owned()),
        };
        let params = CallToolRequestParams::new(name.to_owned()).with_arguments(arguments);
        match timeout(self.settings.timeout.0, peer.call_tool(params)).await {
            Ok(Ok(result)) => answer(&result),
            Ok(Err(error)) => {
                tracing::warn!(server = self.name(), tool = name, error = clip(&error.to_string()), "a tool failed");
                Err("the tool failed".to_owned())
            }
            Err(_) => Err(format!("no answer within {}", self.settings.timeout)),
        }
    }

    /// Ends it.
    pub(in crate::tasks) async fn close(&self) {
        if let Some(mut live) = self.state.lock().await.live.take() {
            // one that does not end by itself is killed with its group
            let _ = live.service.close_with_timeout(GRACE).await;
        }
    }
}

/// The texts of an answer; without one, what it has as JSON.
fn answer(result: &CallToolResult) -> Result<String, String> {
    let texts: Vec<&str> =
        result.content.iter().filter_map(|block| block.as_text()).map(|text| text.text.as_str()).collect();
    let text = match &result.structured_content {
        Some(value) if texts.is_empty() => value.to_string(),
        _ => texts.join("\n"),
    };
    if result.is_error == Some(true) { Err(text) } else { Ok(text) }
}

fn clip(text: &str) -> String {
    super::cut(text, 300)
}
