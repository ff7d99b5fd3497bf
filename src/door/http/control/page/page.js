"use strict";

const make = (tag, text, parent) => {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  if (parent) parent.append(element);
  return element;
};

const field = (parameter, parent) => {
  const label = make("label", `${parameter.name} (${parameter.in}) `, parent);
  const input = make("input", "", label);
  make("small", ` ${parameter.description || ""}`, label);
  return { parameter, input };
};

// The token stays in this page: it is neither stored nor put into an address.
const ask = async (method, path, fields, body) => {
  const query = new URLSearchParams();
  for (const { parameter, input } of fields) {
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (input.value !== "") query.set(parameter.name, input.value);
  }
  const headers = {};
  const token = document.getElementById("token").value;
  if (token) headers["X-Auth-Token"] = token;
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    headers["X-Request-Nonce"] = crypto.getRandomValues(new Uint32Array(4)).join("-");
    headers["X-Request-Timestamp"] = String(Date.now());
  }
  const address = query.size ? `${path}?${query}` : path;
  const answer = await fetch(address, { method, headers, body });
  const text = await answer.text();
  let shown = text;
  try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* shown as it came */ }
  return `${answer.status} ${answer.statusText}\n${shown}`;
};

const show = (root, schemas, path, method, endpoint) => {
  const details = make("details", "", root);
  const summary = make("summary", "", details);
  make("b", method.toUpperCase(), summary);
  make("code", path, summary);
  make("span", ` ${endpoint.summary}`, summary);
  make("p", endpoint.description, details);
  const fields = (endpoint.parameters || []).map((parameter) => field(parameter, details));
  let body;
  const schema = endpoint.requestBody?.content["application/json"].schema;
  if (schema) {
    const named = schema.$ref ? schemas[schema.$ref.split("/").pop()] : schema;
    make("pre", JSON.stringify(named, null, 2), details);
    body = make("textarea", "", details);
    body.value = "{}";
  }
  const button = make("button", "Ask", details);
  const answer = make("pre", "", details);
  button.addEventListener("click", async () => {
    answer.textContent = "…";
    try {
      answer.textContent = await ask(method.toUpperCase(), path, fields, body?.value);
    } catch (error) {
      answer.textContent = String(error);
    }
  });
};

const begin = async () => {
  const api = await (await fetch("/v1/openapi.json")).json();
  document.getElementById("about").textContent = `${api.info.description} Version ${api.info.version}.`;
  const root = document.getElementById("endpoints");
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, endpoint] of Object.entries(methods)) {
      show(root, api.components.schemas, path, method, endpoint);
    }
  }
};

begin();
