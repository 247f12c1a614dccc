//! The description of the page's API, made from the types of its answers.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::view::Report;
use crate::view::page::{
    ClusterNetworkPage, HostNetworkConfigs, HostPage, NetworkConfigs, Overview, VmList,
    VmNetworkPage, VmNetworks, VmPage, VmsAsked,
};
use crate::view::plan::PlanView;
use crate::view::planner::{
    Choices, ClusterNetworkForm, Draft, NetworkConfigDraft, NetworkConfigForm, PlacementForm,
    Planned, VmNetworkForm,
};

/// The description as `OpenAPI` 3.1.
#[must_use]
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut api = Api { schemas: settings.into_generator(), paths: Map::new() };
    api.get::<Overview>("/overview", "Hosts × cluster networks at a glance", &[]);
    api.get::<HostPage<'_>>("/hosts/{name}", "A host, its links and what there is on it", &[]);
    api.get::<ClusterNetworkPage<'_>>(
        "/cluster-networks/{name}",
        "A cluster network, and on which hosts it is active",
        &[],
    );
    api.get::<NetworkConfigs>("/network-configs", "All network configs", &[]);
    api.get::<VmNetworks>("/vm-networks", "All VM networks", &[]);
    api.get::<VmNetworkPage<'_>>(
        "/vm-networks/{namespace}/{name}",
        "A VM network, and where and by whom it is used",
        &[],
    );
    let asked = api.members_of::<VmsAsked>();
    api.get::<VmList>("/vms", "VMs by name, some at a time", &asked);
    api.get::<VmPage<'_>>("/vms/{namespace}/{name}", "A VM, and where it can run", &[]);
    api.get::<HostNetworkConfigs>("/host-network-configs", "All host network configs", &[]);
    api.get::<Report>("/problems", "Everything that is wrong now, as `lanekeeper check` says", &[]);
    api.get::<Choices<'_>>("/planner", "What the forms of the planner offer", &[]);
    let flags = [
        ("delete", "Whether the objects are deleted."),
        ("inOrder", "Whether the objects are judged one after the other."),
    ];
    let flags = flags.map(|(name, text)| {
        let schema = json!({ "type": "boolean", "default": false });
        json!({ "name": name, "in": "query", "description": text, "schema": schema })
    });
    let objects = json!({
        "application/yaml": { "schema": { "type": "string" } },
        "application/json": { "schema": { "type": "object" } },
    });
    let summary = "What a change would do, as `lanekeeper plan` says. Nothing is changed";
    api.post::<PlanView>("/plan", summary, &objects, &flags);
    api.form::<NetworkConfigForm, Planned<NetworkConfigDraft>>(
        "/planner/network-config",
        "A new, changed or moved network config. Nothing is changed",
    );
    api.form::<ClusterNetworkForm, Planned<Draft<ClusterNetworkForm>>>(
        "/planner/cluster-network",
        "A new cluster network. Nothing is changed",
    );
    api.form::<VmNetworkForm, Planned<Draft<VmNetworkForm>>>(
        "/planner/vm-network",
        "A new or changed VM network. Nothing is changed",
    );
    api.form::<PlacementForm, VmPage<'_>>(
        "/planner/placement",
        "Where a VM could run that is not made yet",
    );
    let events = "Server-sent events. `version` with a new `version` of the snapshot; `waiting` with \
                  why there is none yet";
    let stream = json!({ "text/event-stream": { "schema": { "type": "string" } } });
    api.operation("/events", "get", events, json!({ "content": stream }), Map::new());
    let this = json!({ "application/json": { "schema": { "type": "object" } } });
    api.operation("/openapi.json", "get", "This document", json!({ "content": this }), Map::new());
    api.finish()
}

/// The description as far as it is made.
struct Api {
    schemas: SchemaGenerator,
    paths: Map<String, Value>,
}

impl Api {
    fn get<A: JsonSchema>(&mut self, path: &str, summary: &str, query: &[Value]) {
        let answer = self.content::<A>();
        let more = Map::from_iter([("parameters".to_owned(), json!(query))]);
        self.operation(path, "get", summary, answer, more);
    }

    fn post<A: JsonSchema>(&mut self, path: &str, summary: &str, body: &Value, query: &[Value]) {
        let answer = self.content::<A>();
        let more = Map::from_iter([
            ("parameters".to_owned(), json!(query)),
            ("requestBody".to_owned(), json!({ "required": true, "content": body })),
        ]);
        self.operation(path, "post", summary, answer, more);
    }

    fn form<F: JsonSchema, A: JsonSchema>(&mut self, path: &str, summary: &str) {
        let body = json!({ "application/json": { "schema": self.schemas.subschema_for::<F>() } });
        self.post::<A>(path, summary, &body, &[]);
    }

    fn content<A: JsonSchema>(&mut self) -> Value {
        let schema = self.schemas.subschema_for::<A>();
        json!({ "content": { "application/json": { "schema": schema } } })
    }

    /// The members of a type as parameters of a query.
    fn members_of<T: JsonSchema>(&mut self) -> Vec<Value> {
        let schema = T::json_schema(&mut self.schemas);
        let members = schema.get("properties").and_then(Value::as_object).cloned();
        let parameter = |(name, schema): (String, Value)| {
            let description = schema.get("description").cloned();
            json!({ "name": name, "in": "query", "description": description, "schema": schema })
        };
        members.unwrap_or_default().into_iter().map(parameter).collect()
    }

    fn operation(
        &mut self,
        path: &str,
        method: &str,
        summary: &str,
        answer: Value,
        mut more: Map<String, Value>,
    ) {
        let in_path = path.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
        let in_path = in_path.map(|(name, _)| {
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
        });
        let query = more.remove("parameters").and_then(|it| it.as_array().cloned());
        let parameters: Vec<Value> = in_path.chain(query.unwrap_or_default()).collect();
        let mut answer = answer;
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("description".to_owned(), "The answer".into());
        }
        let mut operation = json!({
            "summary": summary,
            "parameters": parameters,
            "responses": {
                "200": answer,
                "default": { "$ref": "#/components/responses/Error" },
            },
        });
        if let Some(operation) = operation.as_object_mut() {
            operation.extend(more);
        }
        let methods = Map::from_iter([(method.to_owned(), operation)]);
        self.paths.insert(format!("/api/v1{path}"), methods.into());
    }

    fn finish(mut self) -> Value {
        let error = json!({
            "type": "object",
            "required": ["error"],
            "properties": { "error": { "type": "string" } },
        });
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Lanekeeper",
                "description": "What the web page shows. It only reads: nothing is ever changed.",
                "version": env!("CARGO_PKG_VERSION"),
            },
            "paths": self.paths,
            "components": {
                "schemas": self.schemas.take_definitions(true),
                "responses": {
                    "Error": {
                        "description": "Why there is no answer. 503: the cluster is still being \
                                        read, or too many answers are being computed; try again",
                        "content": { "application/json": { "schema": error } },
                    },
                },
            },
        })
    }
}
