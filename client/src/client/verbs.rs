//! The verbs of the API: each is one request, a list is one per page.

use http::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;
use skiff_api::{Key, Kind, Reason, Subresource};

use super::Client;
use crate::error::ClientError;
use crate::options::{DeleteOptions, ListOptions, Patch, WriteOptions};
use crate::request::{Request, collection_path, object_path};

/// Objects asked for per request when a collection is listed.
const PAGE: u32 = 500;

/// A collection as of one revision.
#[derive(Clone, Debug)]
pub struct List<T = Value> {
    /// The objects.
    pub items: Vec<T>,
    /// The `resourceVersion` to watch from.
    pub revision: String,
}

#[derive(serde::Deserialize)]
struct Page<T> {
    metadata: PageMeta,
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct PageMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    next: String,
}

impl Client {
    /// Reads an object.
    ///
    /// # Errors
    /// [`ClientError::Status`] with `NotFound` if there is none; others as for any request.
    pub async fn get<T: DeserializeOwned>(&self, key: &Key) -> Result<T, ClientError> {
        self.json(Request::get(object_path(key, None))).await
    }

    /// Reads an object that need not exist.
    ///
    /// # Errors
    /// As [`Client::get`], but for `NotFound`.
    pub async fn get_opt<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, ClientError> {
        match self.get(key).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a collection, page by page: of one namespace, or of all if that is `None`.
    ///
    /// # Errors
    /// Also `Expired` if a page is asked for too late; then the list starts afresh, once.
    pub async fn list<T: DeserializeOwned>(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<List<T>, ClientError> {
        match self.list_pages(kind, namespace, options).await {
            Err(error) if error.is(Reason::Expired) => {
                self.list_pages(kind, namespace, options).await
            }
            result => result,
        }
    }

    async fn list_pages<T: DeserializeOwned>(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<List<T>, ClientError> {
        let limit = options.limit.unwrap_or(PAGE).to_string();
        let mut items = Vec::new();
        let mut next = String::new();
        loop {
            let request = Request::get(collection_path(kind, namespace))
                .query("limit", limit.clone())
                .query_opt("continue", Some(next).filter(|next| !next.is_empty()));
            let page: Page<T> = self.json(options.select(request)).await?;
            items.extend(page.items);
            if page.metadata.next.is_empty() {
                return Ok(List {
                    items,
                    revision: page.metadata.resource_version,
                });
            }
            next = page.metadata.next;
        }
    }

    /// Creates an object in its collection.
    ///
    /// # Errors
    /// `AlreadyExists`, `Invalid`, … as [`ClientError::Status`].
    pub async fn create<T: DeserializeOwned>(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        object: &impl serde::Serialize,
        options: &WriteOptions,
    ) -> Result<T, ClientError> {
        let request = Request::new(Method::POST, collection_path(kind, namespace));
        self.json(options.options(request).json("application/json", object)?)
            .await
    }

    /// Creates below an object: an eviction or a binding of a pod.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub async fn create_subresource<T: DeserializeOwned>(
        &self,
        key: &Key,
        subresource: Subresource,
        body: &impl serde::Serialize,
        options: &WriteOptions,
    ) -> Result<T, ClientError> {
        let request = Request::new(Method::POST, object_path(key, Some(subresource)));
        self.json(options.options(request).json("application/json", body)?)
            .await
    }

    /// Replaces an object, or its status; `metadata.resourceVersion` in it guards the write.
    ///
    /// # Errors
    /// `Conflict` if the object has changed since.
    pub async fn replace<T: DeserializeOwned>(
        &self,
        key: &Key,
        subresource: Option<Subresource>,
        object: &impl serde::Serialize,
        options: &WriteOptions,
    ) -> Result<T, ClientError> {
        let request = Request::new(Method::PUT, object_path(key, subresource));
        self.json(options.options(request).json("application/json", object)?)
            .await
    }

    /// Changes an object, or its status or scale.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`, … as [`ClientError::Status`].
    pub async fn patch<T: DeserializeOwned>(
        &self,
        key: &Key,
        subresource: Option<Subresource>,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<T, ClientError> {
        let request = Request::new(Method::PATCH, object_path(key, subresource));
        self.json(
            options
                .options(request)
                .json(patch.content_type(), patch.body())?,
        )
        .await
    }

    /// Deletes an object, or begins to: the answer is the object while it ends, else a `Status`.
    ///
    /// # Errors
    /// `NotFound` if there is none, `Conflict` if it has another uid.
    pub async fn delete(&self, key: &Key, options: &DeleteOptions) -> Result<Value, ClientError> {
        let request = Request::new(Method::DELETE, object_path(key, None));
        self.json(request.json("application/json", &options.to_json())?)
            .await
    }
}
