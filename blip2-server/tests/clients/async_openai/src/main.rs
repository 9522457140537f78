//! `async-openai` asks a server: `async_openai_client ADDRESS PICTURE`.

use std::error::Error;

use async_openai::{
    Client, config::OpenAIConfig, error::OpenAIError, types::chat::CreateChatCompletionRequest,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures::StreamExt as _;
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, picture] = arguments.as_slice() else {
        return Err("async_openai_client ADDRESS PICTURE".into());
    };
    let config = |key: &str| {
        OpenAIConfig::new()
            .with_api_base(format!("{address}/v1"))
            .with_api_key(key)
    };
    let client = Client::with_config(config("a-key"));
    let models = client.models().list().await?;
    let model = &models.data[0].id;
    let url = format!(
        "data:image/png;base64,{}",
        BASE64_STANDARD.encode(std::fs::read(picture)?)
    );
    if models.data[0].owned_by != "blip2" {
        return Err("another server answers".into());
    }
    match embeds(&client, model, &url).await? {
        true => println!("async-openai embeds with {model}: all is well"),
        false => {
            chats(&client, model, &url).await?;
            println!("async-openai asks {model}: all is well");
        }
    }
    let other = Client::with_config(config("another"));
    match other.models().list().await {
        Err(OpenAIError::ApiError(_)) => Ok(()),
        other => Err(format!("a wrong key: {other:?}").into()),
    }
}

fn request(
    model: &str,
    url: &str,
    more: Value,
) -> Result<CreateChatCompletionRequest, serde_json::Error> {
    let mut request = json!({"model": model, "messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": "what color is the shape?"},
    ]}]});
    if let (Some(request), Value::Object(more)) = (request.as_object_mut(), more) {
        request.extend(more);
    }
    serde_json::from_value(request)
}

async fn chats(
    client: &Client<OpenAIConfig>,
    model: &str,
    url: &str,
) -> Result<(), Box<dyn Error>> {
    let reply = client
        .chat()
        .create(request(model, url, json!({"logprobs": true}))?)
        .await?;
    let choice = &reply.choices[0];
    assert_eq!(choice.message.content.as_deref(), Some("red"));
    let tokens = choice
        .logprobs
        .as_ref()
        .and_then(|logprobs| logprobs.content.as_ref());
    assert_eq!(tokens.ok_or("no logprobs")?.len(), 1);
    assert_eq!(reply.usage.ok_or("no usage")?.completion_tokens, 2);

    let mut stream = client
        .chat()
        .create_stream(request(model, url, json!({"stream": true}))?)
        .await?;
    let mut text = String::new();
    while let Some(chunk) = stream.next().await {
        for choice in chunk?.choices {
            text.push_str(choice.delta.content.as_deref().unwrap_or_default());
        }
    }
    assert_eq!(text, "red");

    match client
        .chat()
        .create(request("gpt-4o", url, json!({}))?)
        .await
    {
        Err(OpenAIError::ApiError(error)) => println!("refused as it should be: {error}"),
        other => return Err(format!("another model's name: {other:?}").into()),
    }
    Ok(())
}

/// Whether the model embeds; if so, it does it well.
async fn embeds(
    client: &Client<OpenAIConfig>,
    model: &str,
    url: &str,
) -> Result<bool, Box<dyn Error>> {
    let request = serde_json::from_value(
        json!({"model": model, "input": ["a dog", url], "encoding_format": "float"}),
    )?;
    match client.embeddings().create(request).await {
        Ok(reply) => {
            assert_eq!(reply.data.len(), 2);
            let text = &reply.data[0].embedding;
            let length: f32 = text.iter().map(|value| value * value).sum();
            assert!((length - 1.0).abs() < 1e-3 && reply.data[1].embedding.len() % text.len() == 0);
            Ok(true)
        }
        Err(OpenAIError::ApiError(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
