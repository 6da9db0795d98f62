//! Keeps the view of policies by watching them; and of pods and namespaces, but only while there is
//! a policy. Losing the servers leaves it as it was.

use std::sync::Arc;
use std::time::Duration;

use skiff_api::Kind;
use skiff_client::{Client, ClientError, Event, ListOptions, Request, Watcher};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::read::Line;
use super::{OwnPods, Policies};

/// Where the servers tell of all pods' addresses.
const PODS: &str = "/skiff/v1/network/pods";

/// News that wait to be taken in; who is faster waits.
const QUEUE: usize = 256;

/// How long until pods are asked for again after a failure.
const RETRY: Duration = Duration::from_secs(2);

enum News {
    Policies(Event),
    Namespaces(Event),
    /// All pods that there are, from a new answer.
    AllPods(Vec<Line>),
    Pod(Line),
}

/// Keeps the view for as long as it is polled. Of the node's `own` pods it is told by the agent.
pub async fn follow_policies(
    client: Client,
    mut own: watch::Receiver<OwnPods>,
    shown: &watch::Sender<Arc<Policies>>,
) {
    let (tell, mut told) = mpsc::channel(QUEUE);
    let mut watches = JoinSet::new();
    let kind = Kind::NetworkPolicy;
    watches.spawn(watch_kind(
        client.clone(),
        kind,
        News::Policies,
        tell.clone(),
    ));
    let mut view = View::default();
    loop {
        tokio::select! {
            Some(news) = told.recv() => view.take(news),
            Ok(()) = own.changed() => {}
            else => return,
        }
        while let Ok(news) = told.try_recv() {
            view.take(news);
        }
        view.now.take_own(own.borrow_and_update().clone());
        view.ask_for_more(&client, &tell);
        if view.is_whole() {
            shown.send_if_modified(|shown| {
                let differs = **shown != view.now;
                if differs {
                    *shown = Arc::new(view.now.clone());
                }
                differs
            });
        }
    }
}

#[derive(Default)]
struct View {
    now: Policies,
    policies: bool,
    /// What watches pods and namespaces, while there is a policy.
    more: Option<JoinSet<()>>,
    namespaces: bool,
    pods: bool,
}

impl View {
    fn take(&mut self, news: News) {
        match news {
            News::Policies(event) => {
                self.policies |= matches!(event, Event::Restarted(_));
                self.now.take_policies(event);
            }
            // The last words of those that were ended already.
            News::Namespaces(_) | News::AllPods(_) | News::Pod(_) if self.more.is_none() => {}
            News::Namespaces(event) => {
                self.namespaces |= matches!(event, Event::Restarted(_));
                self.now.take_namespaces(event);
            }
            News::AllPods(lines) => {
                self.pods = true;
                self.now.take_all_pods(lines);
            }
            News::Pod(line) => self.now.take_pod(line),
        }
    }

    /// Begins to watch pods and namespaces with the first policy, and ends it with the last.
    fn ask_for_more(&mut self, client: &Client, tell: &mpsc::Sender<News>) {
        if self.now.is_empty() {
            (self.more, self.namespaces, self.pods) = (None, false, false);
            self.now.forget_the_rest();
        } else if self.more.is_none() {
            let mut watches = JoinSet::new();
            let (kind, wrap) = (Kind::Namespace, News::Namespaces);
            watches.spawn(watch_kind(client.clone(), kind, wrap, tell.clone()));
            watches.spawn(watch_pods(client.clone(), tell.clone()));
            self.more = Some(watches);
        }
    }

    /// Whether all was heard that the policies' rules depend on.
    fn is_whole(&self) -> bool {
        self.policies && (self.now.is_empty() || (self.namespaces && self.pods))
    }
}

async fn watch_kind(client: Client, kind: Kind, wrap: fn(Event) -> News, tell: mpsc::Sender<News>) {
    let mut watcher = Watcher::new(client, kind, None, ListOptions::default());
    let mut failing = false;
    loop {
        match watcher.next().await {
            Ok(event) => {
                failing = false;
                if tell.send(wrap(event)).await.is_err() {
                    return;
                }
            }
            Err(error) if std::mem::replace(&mut failing, true) => {
                tracing::debug!(%kind, %error, "still cannot watch");
            }
            Err(error) => tracing::warn!(%kind, %error, "cannot watch; will retry"),
        }
    }
}

async fn watch_pods(client: Client, tell: mpsc::Sender<News>) {
    let mut failing = false;
    while !tell.is_closed() {
        if let Err(error) = read_pods(&client, &tell, &mut failing).await
            && !std::mem::replace(&mut failing, true)
        {
            tracing::warn!(%error, "cannot follow the pods that policies are about; will retry");
        }
        sleep(RETRY).await;
    }
}

/// Reads one answer to its end.
async fn read_pods(
    client: &Client,
    tell: &mpsc::Sender<News>,
    failing: &mut bool,
) -> Result<(), ClientError> {
    let mut lines = client.stream(Request::get(PODS)).await?.lines();
    let mut first = Some(Vec::new());
    while let Some(line) = lines.next().await? {
        let line: Line = match serde_json::from_slice(&line) {
            Ok(line) => line,
            Err(error) => {
                tracing::error!(%error, "a line about a pod can't be read; it is left out");
                continue;
            }
        };
        let news = match (first.take(), line) {
            (Some(all), Line::Synced) => News::AllPods(all),
            (Some(mut all), line) => {
                all.push(line);
                first = Some(all);
                continue;
            }
            (None, line) => News::Pod(line),
        };
        *failing = false;
        if tell.send(news).await.is_err() {
            break;
        }
    }
    Ok(())
}
