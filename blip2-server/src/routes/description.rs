//! What `/openapi.json` says.

use serde_json::{Map, Value, json};
use utoipa::{OpenApi, openapi};

/// Of the whole.
#[derive(OpenApi)]
#[openapi(
    info(title = "BLIP-2", description = "Questions about pictures, answered."),
    tags(
        (name = "openai", description = "In the shape of OpenAI's API"),
        (name = "blip2", description = "In the library's own terms"),
        (name = "operation", description = "For whoever runs the server"),
    )
)]
pub(super) struct Description;

/// What a server says of its routes: of those that may need a key, and of those that need none.
pub(super) fn described(keyed: openapi::OpenApi, open: openapi::OpenApi) -> Value {
    let unlocked: Vec<String> = open.paths.paths.keys().cloned().collect();
    let mut api = serde_json::to_value(keyed.merge_from(open)).unwrap_or_default();
    if let Some(components) = object(&mut api, "/components") {
        let scheme = json!({"key": {"type": "http", "scheme": "bearer"}});
        components.insert("securitySchemes".into(), scheme);
    }
    each_operation(&mut api, |path, operation| {
        // Without keys everyone may ask.
        if unlocked.iter().all(|of| of != path) {
            operation.insert("security".into(), json!([{"key": []}, {}]));
        }
    });
    bring_files(&mut api);
    if let Some(paths) = object(&mut api, "/paths") {
        name_parameters(paths);
    }
    api
}

fn object<'v>(value: &'v mut Value, at: &str) -> Option<&'v mut Map<String, Value>> {
    value.pointer_mut(at)?.as_object_mut()
}

fn each_operation(api: &mut Value, change: impl Fn(&str, &mut Map<String, Value>)) {
    for (path, methods) in object(api, "/paths").into_iter().flatten() {
        let operations = methods.as_object_mut().into_iter().flatten();
        for operation in operations.filter_map(|(_, operation)| operation.as_object_mut()) {
            change(path, operation);
        }
    }
}

/// A parameter that is the rest of a path is one like another to who reads this.
fn name_parameters(paths: &mut Map<String, Value>) {
    let named = std::mem::take(paths).into_iter();
    *paths = named
        .map(|(path, of)| (path.replace("{*", "{"), of))
        .collect();
}

/// Says that a form brings its picture as a file.
fn bring_files(api: &mut Value) {
    let schemas = api.pointer("/components/schemas").cloned();
    let schemas = schemas.unwrap_or_default();
    each_operation(api, |_, operation| {
        let form = operation.get_mut("requestBody");
        let form = form.and_then(|body| body.pointer_mut("/content/multipart~1form-data/schema"));
        let name = form.as_ref().and_then(|schema| schema.get("$ref"));
        let name = name.and_then(Value::as_str);
        let name = name.and_then(|name| name.rsplit('/').next());
        let query = name.and_then(|name| schemas.get(name)).cloned();
        if let (Some(form), Some(mut query)) = (form, query) {
            bring_file(&mut query);
            *form = query;
        }
    });
}

fn bring_file(schema: &mut Value) {
    if let Some(image) = schema.pointer_mut("/properties/image") {
        *image = json!({"type": "string", "format": "binary", "description": "The picture's file"});
    }
    let parts = schema.get_mut("allOf").and_then(Value::as_array_mut);
    parts.into_iter().flatten().for_each(bring_file);
}
