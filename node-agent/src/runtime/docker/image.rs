//! Images: looking at them and fetching them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ImageInspect, ImageSummary as EngineSummary};
use bollard::query_parameters::{CreateImageOptionsBuilder, ListImagesOptionsBuilder};
use futures_util::StreamExt;
use http::HeaderValue;
use serde_json::json;

use super::error::{Subject, classify, within};
use crate::runtime::{Credentials, ImageInfo, ImageSummary, RuntimeError, Step};

/// Looking at an image reads the Engine's memory.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(30);
/// A pull may take any time as long as it moves; unpacking one large layer is the longest silence.
const PULL_SILENCE_MAX: Duration = Duration::from_secs(300);
/// Bytes of an image's name: the limit of the reference grammar, with room for a digest.
const NAME_MAX: usize = 512;

/// The image under that name, if the Engine has it.
pub(super) async fn inspect(
    docker: &Docker,
    image: &str,
) -> Result<Option<ImageInfo>, RuntimeError> {
    check_name(image)?;
    let call = async {
        match docker.inspect_image(image).await {
            Err(Error::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(None),
            other => other.map(Some),
        }
    };
    let found = within(Step::InspectImage, Subject::Engine, INSPECT_TIMEOUT, call).await;
    match found {
        Ok(found) => Ok(found.map(info)),
        Err(RuntimeError::Refused { message, .. })
            if message.contains("invalid reference format") =>
        {
            Err(RuntimeError::ImageName {
                image: image.to_owned(),
            })
        }
        Err(err) => Err(err),
    }
}

/// All images that have a name.
pub(super) async fn list(docker: &Docker) -> Result<Vec<ImageSummary>, RuntimeError> {
    let options = ListImagesOptionsBuilder::default().digests(true).build();
    let call = docker.list_images(Some(options));
    let images = within(Step::InspectImage, Subject::Engine, INSPECT_TIMEOUT, call).await?;
    Ok(images.into_iter().filter_map(summary).collect())
}

/// Fetches an image and looks at it.
pub(super) async fn pull(
    docker: &Docker,
    image: &str,
    credentials: Option<&Credentials>,
) -> Result<ImageInfo, RuntimeError> {
    check_name(image)?;
    let failed = |message: String| RuntimeError::Pull {
        image: image.to_owned(),
        message,
    };
    let (name, tag) = split(image);
    let options = CreateImageOptionsBuilder::default()
        .from_image(name)
        .tag(tag)
        .build();
    let docker = match credentials {
        None => docker.clone(),
        Some(credentials) => with_credentials(docker, credentials)
            .map_err(|_| failed("the registry credentials cannot be sent".to_owned()))?,
    };
    let mut progress = std::pin::pin!(docker.create_image(Some(options), None, None));
    loop {
        match tokio::time::timeout(PULL_SILENCE_MAX, progress.next()).await {
            Ok(Some(Ok(_progress))) => {}
            Ok(Some(Err(err))) => {
                let err = classify(Step::PullImage, Subject::Engine, err);
                let RuntimeError::Refused { message, .. } = err else {
                    return Err(err);
                };
                return Err(failed(message));
            }
            Ok(None) => break,
            Err(_) => return Err(failed(format!("no progress within {PULL_SILENCE_MAX:?}"))),
        }
    }
    let found = inspect(&docker, image).await?;
    found.ok_or_else(|| failed("the image is not there after its pull".to_owned()))
}

/// A client that sends the credentials by itself. The library's own way uses the alphabet of
/// base64 that the Engine does not read, and the Engine then pulls without any credentials.
fn with_credentials(
    docker: &Docker,
    credentials: &Credentials,
) -> Result<Docker, http::header::InvalidHeaderValue> {
    let Credentials {
        username,
        password,
        server,
    } = credentials;
    let auth = json!({ "username": username, "password": password, "serveraddress": server });
    let mut header = HeaderValue::from_str(&URL_SAFE.encode(auth.to_string()))?;
    header.set_sensitive(true);
    Ok(docker.clone().with_request_modifier(move |mut request| {
        request
            .headers_mut()
            .insert("x-registry-auth", header.clone());
        request
    }))
}

/// Refuses what would be another path of the Engine's API. The Engine judges the rest.
fn check_name(image: &str) -> Result<(), RuntimeError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let segments = image.split('/');
    let sound = (1..=NAME_MAX).contains(&image.len())
        && image.chars().all(allowed)
        && segments
            .into_iter()
            .all(|segment| !matches!(segment, "" | "." | ".."));
    sound.then_some(()).ok_or_else(|| RuntimeError::ImageName {
        image: image.to_owned(),
    })
}

/// A name without its tag or digest, and that. Without either the Engine would fetch every tag.
fn split(image: &str) -> (&str, &str) {
    if let Some((name, digest)) = image.split_once('@') {
        return (without_tag(name).0, digest);
    }
    without_tag(image)
}

fn without_tag(name: &str) -> (&str, &str) {
    match name.rsplit_once(':') {
        // A colon before a slash belongs to a registry's port.
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        Some(_) | None => (name, "latest"),
    }
}

fn info(image: ImageInspect) -> ImageInfo {
    let config = image.config.unwrap_or_default();
    let given = |command: Option<Vec<String>>| command.is_some_and(|command| !command.is_empty());
    let mut names = image.repo_tags.unwrap_or_default();
    names.extend(image.repo_digests.unwrap_or_default());
    ImageInfo {
        summary: ImageSummary {
            id: image.id.unwrap_or_default().into(),
            names,
            size_bytes: size(image.size.unwrap_or_default()),
        },
        user: config.user.unwrap_or_default(),
        has_command: given(config.entrypoint) || given(config.cmd),
    }
}

fn summary(image: EngineSummary) -> Option<ImageSummary> {
    let names: Vec<_> = image
        .repo_tags
        .into_iter()
        .chain(image.repo_digests)
        .filter(|name| !name.contains("<none>"))
        .collect();
    let named = !names.is_empty();
    named.then(|| ImageSummary {
        id: image.id.into(),
        names,
        size_bytes: size(image.size),
    })
}

fn size(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_split_where_the_tag_begins() {
        let cases = [
            ("busybox", ("busybox", "latest")),
            ("busybox:1.36", ("busybox", "1.36")),
            ("registry:5000/a/b", ("registry:5000/a/b", "latest")),
            ("registry:5000/a/b:v2", ("registry:5000/a/b", "v2")),
            ("a/b@sha256:12ab", ("a/b", "sha256:12ab")),
            ("a/b:v2@sha256:12ab", ("a/b", "sha256:12ab")),
        ];
        for (image, expected) in cases {
            assert_eq!(split(image), expected, "{image}");
        }
    }

    #[test]
    fn a_name_cannot_lead_to_another_path() {
        for image in [
            "",
            "a b",
            "../containers/x",
            "a/../b",
            "a//b",
            "x?y",
            "x#y",
            "ü",
            "a/.",
        ] {
            assert!(check_name(image).is_err(), "{image:?}");
        }
        for image in ["a", "a.b:5000/c-d_e:v1.2", "a@sha256:12"] {
            assert!(check_name(image).is_ok(), "{image:?}");
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        let credentials = Credentials {
            username: "u".into(),
            password: "hunter2".into(),
            server: "r".into(),
        };
        assert_eq!(format!("{credentials:?}"), "Credentials(u@r)");
    }
}
