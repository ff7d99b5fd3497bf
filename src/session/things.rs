//! The things of older firmware (before 1.8): what it tells of them becomes tools, and a call of one a command.
//!
//! Such firmware answers no command; it tells the state of a thing when that has changed. Nothing here has a clock or a
//! socket. What a device says of its things is bounded, and data.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::tools::{CallError, Tool, cut};
use crate::domain::Message;

/// Most things of a device, methods of a thing, parameters of a method.
const THINGS: usize = 16;
const METHODS: usize = 16;
const PARAMETERS: usize = 8;
/// Most tools that become of all of them.
const TOOLS: usize = 128;
/// Longest name, description, text of an argument, and state as JSON, in bytes.
const NAME: usize = 64;
const DESCRIPTION: usize = 512;
const TEXT: usize = 1 << 10;
const STATE: usize = 4 << 10;
/// By which a state is asked for.
const GET: &str = "get_state";

/// What a device has, as it tells.
#[derive(Debug, Default)]
pub(super) struct Things {
    things: Vec<Thing>,
    tools: Arc<[Tool]>,
}

#[derive(Debug)]
struct Thing {
    name: String,
    description: String,
    /// Of its properties: names and what they are.
    properties: Vec<(String, String)>,
    methods: Vec<Method>,
    /// As last told: an object.
    state: Option<Value>,
}

#[derive(Debug)]
struct Method {
    name: String,
    description: String,
    parameters: Vec<Parameter>,
}

#[derive(Debug)]
struct Parameter {
    name: String,
    description: String,
    form: Form,
}

/// What firmware reads a parameter as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Of 32 bits.
    Integer,
    Boolean,
    Text,
}

/// What a call comes to.
#[derive(Debug, PartialEq)]
pub(super) enum Called {
    /// To be sent; nothing comes back.
    Command(Message),
    /// The answer.
    State(String),
}

impl Things {
    /// As tools: `Thing.Method` for each method, `Thing.get_state` for a thing with properties.
    pub(super) fn tools(&self) -> Option<&Arc<[Tool]>> {
        Some(&self.tools).filter(|tools| !tools.is_empty())
    }

    /// Takes what a device tells; says what was wrong with it: a thing that is none, a state of nothing, or neither.
    pub(super) fn take(&mut self, told: &Value) -> Vec<&'static str> {
        let list = |key: &str| told[key].as_array().map(Vec::as_slice);
        let (descriptors, states) = (list("descriptors"), list("states"));
        if descriptors.is_none() && states.is_none() {
            return vec!["no_things"];
        }
        let mut complaints = Vec::new();
        for descriptor in descriptors.unwrap_or_default().iter().take(THINGS + 1) {
            if !self.take_thing(descriptor) {
                complaints.push("thing");
            }
        }
        for state in states.unwrap_or_default().iter().take(THINGS + 1) {
            if !self.take_state(state) {
                complaints.push("state");
            }
        }
        if descriptors.is_some() {
            self.tools = self.things.iter().flat_map(tools_of).take(TOOLS).collect();
        }
        complaints
    }

    /// Calls one of the tools.
    pub(super) fn call(&self, tool: &str, arguments: &Value) -> Result<Called, CallError> {
        for thing in &self.things {
            let Some(rest) = tool.strip_prefix(&thing.name).and_then(|rest| rest.strip_prefix('.')) else { continue };
            if let Some(method) = thing.methods.iter().find(|method| method.name == rest) {
                let parameters = method.fit(arguments).map_err(CallError::Refused)?;
                let (thing, method) = (thing.name.clone(), method.name.clone());
                return Ok(Called::Command(Message::ThingCommand { thing, method, parameters }));
            }
            if rest == GET && !thing.properties.is_empty() {
                let untold = || CallError::Refused("the device has not told its state".to_owned());
                return thing.state.as_ref().map(|state| Called::State(state.to_string())).ok_or_else(untold);
            }
        }
        Err(CallError::Unknown)
    }

    fn take_thing(&mut self, descriptor: &Value) -> bool {
        let Some(mut thing) = Thing::read(descriptor) else { return false };
        if let Some(known) = self.things.iter_mut().find(|known| known.name == thing.name) {
            thing.state = known.state.take();
            *known = thing;
            return true;
        }
        let room = self.things.len() < THINGS;
        if room {
            self.things.push(thing);
        }
        room
    }

    fn take_state(&mut self, told: &Value) -> bool {
        let (name, state) = (told["name"].as_str().unwrap_or_default(), &told["state"]);
        if !state.is_object() || state.to_string().len() > STATE {
            return false;
        }
        let Some(thing) = self.things.iter_mut().find(|thing| thing.name == name) else { return false };
        thing.state = Some(state.clone());
        true
    }
}

impl Thing {
    /// None: it is no thing, or has more than is believed.
    fn read(told: &Value) -> Option<Self> {
        let methods = entries(&told["methods"], METHODS)?;
        let methods = methods.into_iter().map(|(name, method)| Method::read(name, method)).collect::<Option<_>>()?;
        let properties = entries(&told["properties"], METHODS)?;
        let properties = properties.into_iter().map(|(name, told)| (name, described(told))).collect();
        Some(Self {
            name: name(told["name"].as_str()?)?,
            description: described(told),
            properties,
            methods,
            state: None,
        })
    }
}

impl Method {
    fn read(name: String, told: &Value) -> Option<Self> {
        let parameters = entries(&told["parameters"], PARAMETERS)?;
        let parameter = |(name, told): (String, &Value)| {
            let form = match told["type"].as_str()? {
                "number" | "integer" => Form::Integer,
                "boolean" => Form::Boolean,
                "string" => Form::Text,
                _ => return None,
            };
            Some(Parameter { name, description: described(told), form })
        };
        let parameters = parameters.into_iter().map(parameter).collect::<Option<_>>()?;
        Some(Self { name, description: described(told), parameters })
    }

    /// The arguments that it knows, each in the form that it has: older firmware takes anything else for 0.
    fn fit(&self, arguments: &Value) -> Result<Value, String> {
        let mut fitting = Map::new();
        for Parameter { name, form, .. } in &self.parameters {
            let said = arguments.get(name).ok_or_else(|| format!("{name} is missing"))?;
            let fits = match form {
                Form::Integer => said.as_i64().and_then(|n| i32::try_from(n).ok()).map(Value::from),
                Form::Boolean => said.as_bool().map(Value::from),
                Form::Text => said.as_str().filter(|text| text.len() <= TEXT).map(Value::from),
            };
            fitting.insert(name.clone(), fits.ok_or_else(|| format!("{name} is no {}", form.name()))?);
        }
        Ok(Value::Object(fitting))
    }

    fn schema(&self) -> Value {
        let property = |parameter: &Parameter| {
            let said = json!({"type": parameter.form.name(), "description": parameter.description});
            (parameter.name.clone(), said)
        };
        let properties: Map<_, _> = self.parameters.iter().map(property).collect();
        let required: Vec<&str> = self.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        json!({"type": "object", "properties": properties, "required": required})
    }
}

impl Form {
    /// As JSON Schema has it.
    fn name(self) -> &'static str {
        match self {
            Form::Integer => "integer",
            Form::Boolean => "boolean",
            Form::Text => "string",
        }
    }
}

fn tools_of(thing: &Thing) -> impl Iterator<Item = Tool> + '_ {
    let calls = thing.methods.iter().map(|method| Tool {
        name: format!("{}.{}", thing.name, method.name),
        description: format!("{} ({})", method.description, thing.description),
        parameters: method.schema(),
        user_only: false,
    });
    let known: Vec<String> = thing.properties.iter().map(|(name, what)| format!("{name} ({what})")).collect();
    let taken = thing.methods.iter().any(|method| method.name == GET);
    let state = (!known.is_empty() && !taken).then(|| Tool {
        name: format!("{}.{GET}", thing.name),
        description: cut(&format!("{}: tells {}", thing.description, known.join(", ")), 4 * DESCRIPTION).to_owned(),
        parameters: json!({"type": "object", "properties": {}}),
        user_only: false,
    });
    calls.chain(state)
}

/// The entries of an object, at most so many, by names that may be said again; nothing at all is an empty one.
fn entries(object: &Value, most: usize) -> Option<Vec<(String, &Value)>> {
    match object {
        Value::Null => Some(Vec::new()),
        Value::Object(entries) if entries.len() <= most => {
            entries.iter().map(|(key, value)| Some((name(key)?, value))).collect()
        }
        _ => None,
    }
}

fn name(text: &str) -> Option<String> {
    let fits = (1..=NAME).contains(&text.len()) && !text.contains(char::is_control);
    fits.then(|| text.to_owned())
}

fn described(told: &Value) -> String {
    cut(told["description"].as_str().unwrap_or_default(), DESCRIPTION).to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

    use super::*;

    fn speaker() -> Value {
        json!({
            "name": "Speaker", "description": "the loudspeaker",
            "properties": {"volume": {"description": "how loud", "type": "number"}},
            "methods": {
                "SetVolume": {"description": "sets how loud", "parameters": {
                    "volume": {"description": "0 to 100", "type": "number"}}},
                "Say": {"description": "says", "parameters": {
                    "text": {"description": "what", "type": "string"},
                    "twice": {"description": "two times", "type": "boolean"}}},
            },
        })
    }

    fn with(descriptors: &[Value]) -> (Things, Vec<&'static str>) {
        let mut things = Things::default();
        let complaints = things.take(&json!({"update": true, "descriptors": descriptors}));
        (things, complaints)
    }

    #[test]
    fn methods_are_tools_with_typed_parameters_and_properties_can_be_asked_for() {
        let (mut things, complaints) = with(&[speaker()]);
        assert_eq!(complaints, [""; 0]);
        let tools = things.tools().unwrap();
        let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names, ["Speaker.SetVolume", "Speaker.Say", "Speaker.get_state"]);
        assert_eq!(tools[0].parameters["properties"]["volume"]["type"], "integer");
        assert_eq!(tools[1].parameters["required"], json!(["text", "twice"]));
        assert!(tools[2].description.contains("volume (how loud)"));
        let called = things.call("Speaker.SetVolume", &json!({"volume": 30, "other": 1})).unwrap();
        let (thing, method) = ("Speaker".to_owned(), "SetVolume".to_owned());
        let parameters = json!({"volume": 30});
        assert_eq!(called, Called::Command(Message::ThingCommand { thing, method, parameters }));
        assert!(matches!(things.call("Speaker.get_state", &json!({})), Err(CallError::Refused(_))), "not yet told");
        assert_eq!(things.take(&json!({"states": [{"name": "Speaker", "state": {"volume": 70}}]})), [""; 0]);
        let told = Called::State("{\"volume\":70}".to_owned());
        assert_eq!(things.call("Speaker.get_state", &json!({})).unwrap(), told);
        // told anew, it keeps its state
        things.take(&json!({"descriptors": [speaker()]}));
        assert_eq!(things.call("Speaker.get_state", &json!({})).unwrap(), told);
        assert_eq!(things.tools().unwrap().len(), 3);
    }

    #[test]
    fn arguments_that_firmware_would_take_for_nought_are_refused() {
        let (things, _) = with(&[speaker()]);
        for arguments in
            [json!({}), json!({"volume": "30"}), json!({"volume": 1.5}), json!({"volume": 5_000_000_000_i64})]
        {
            assert!(matches!(things.call("Speaker.SetVolume", &arguments), Err(CallError::Refused(_))), "{arguments}");
        }
        let long = "x".repeat(TEXT + 1);
        for arguments in [json!({"text": "a", "twice": 1}), json!({"text": long, "twice": true})] {
            assert!(matches!(things.call("Speaker.Say", &arguments), Err(CallError::Refused(_))));
        }
        for tool in ["Speaker", "Speaker.", "Speaker.Dance", "Lamp.SetVolume", ""] {
            assert_eq!(things.call(tool, &json!({})), Err(CallError::Unknown), "{tool}");
        }
    }

    #[test]
    fn what_is_no_thing_is_complained_of_and_what_is_too_much_left_out() {
        let odd = json!({"name": "Odd", "methods": {"A": {"parameters": {"x": {"type": "object"}}}}});
        let wide: Map<_, _> = (0..=METHODS).map(|n| (format!("m{n}"), json!({}))).collect();
        let bad = [json!(7), json!({}), json!({"name": ""}), odd, json!({"name": "Wide", "methods": wide})];
        let (things, complaints) = with(&bad);
        assert_eq!((complaints, things.tools().is_none()), (vec!["thing"; 5], true));
        let many: Vec<Value> = (0..100).map(|n| json!({"name": format!("t{n}"), "methods": {"A": {}}})).collect();
        let (mut things, complaints) = with(&many);
        assert_eq!((complaints.len(), things.tools().unwrap().len()), (1, THINGS));
        for told in [json!({}), json!({"descriptors": {}}), json!({"states": 1})] {
            assert_eq!(things.take(&told), ["no_things"], "{told}");
        }
        let large = "x".repeat(STATE);
        let states = json!([{"name": "t200", "state": {}}, {"name": "t1", "state": 1}, {"name": "t1", "state": {"a": large}}, 7]);
        assert_eq!(things.take(&json!({ "states": states })), ["state"; 4]);
    }
}
