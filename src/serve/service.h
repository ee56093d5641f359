#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "chronos/config/config.h"
#include "chronos/ops/health/note.h"
#include "chronos/present/health_view.h"
#include "chronos/repo/repository.h"
#include "serve/http_server.h"

namespace chronos::serve {

struct ServiceOptions {
    std::string token;  ///< "": none is asked for
    /// Requests must name this machine: a web page elsewhere can make a browser ask, but its own
    /// name then stands in the request.
    bool local_only = true;
};

/// What is served, and when the repositories are looked at: in a thread of its own, at an interval,
/// and sooner when something has changed there. A request is answered from what that saw last; it
/// never waits for a repository. Whatever is served says how old it is, by a clock that nobody
/// sets, and is unknown once it is too old: never the present.
class Service {
public:
    /// `config` and `cancel` outlive it.
    Service(const config::Config& config, std::vector<repo::Repository> repositories,
            ServiceOptions options, const Cancellation& cancel);
    ~Service();
    Service(const Service&) = delete;
    Service& operator=(const Service&) = delete;

    /// Any thread.
    HttpResponse handle(const HttpRequest& request);

    /// Looks at the repositories now; for tests, and before there is a thread.
    void refresh();
    void start_refreshing();

    /// What the server module tells: `job` messages, then `jobs`. One thread at a time.
    void learn(const control::Message& message);

private:
    using Clock = std::chrono::steady_clock;
    /// The jobs in the server's shared memory, as the module told last.
    struct LiveJobs {
        std::vector<ops::health::JobEntry> jobs;
        UnixTime at = 0;
        Clock::time_point heard;
    };

    /// Answers that are the same for everybody for a second.
    struct Rendered {
        std::shared_ptr<const present::HealthView> view;
        std::string summary;
        std::string status;
        std::string metrics;
        std::string openmetrics;
        int health_status = 200;
    };

    std::shared_ptr<const Rendered> rendered();
    std::shared_ptr<const Rendered> render(UnixTime now);
    present::HealthView view_at(UnixTime now);
    void add_repositories(present::HealthView& view) const;
    void add_note(present::HealthView& view);
    void add_live_jobs(present::HealthView& view) const;
    void add_server_rule(present::HealthView& view) const;
    std::string last_archived() const;
    void remember_repositories(const ops::health::Snapshot& fresh);
    void look_at_restores();
    void note_rules();
    void tell_of_silence();
    void load_memory();
    void save_memory();
    std::string marks() const;
    void wait_for_change(std::chrono::milliseconds limit, const std::stop_token& stop);
    bool is_allowed(const HttpRequest& request) const;
    HttpResponse route(const HttpRequest& request);
    HttpResponse readiness();

    const config::Config& config_;
    const std::vector<repo::Repository> repositories_;
    const ServiceOptions options_;
    const Cancellation& cancel_;
    ops::health::WalMemory wal_memory_;  ///< of the refreshing thread

    std::mutex mutex_;
    std::shared_ptr<const ops::health::Snapshot> snapshot_;  ///< nullptr until the first look
    Clock::time_point snapshot_seen_;
    ops::health::RuleMemories memories_;
    ops::health::RepositoryMemories repository_memories_;
    std::string saved_memory_;  ///< as it was last written
    std::optional<LiveJobs> live_;
    std::vector<present::CompletingRestore> completing_;
    UnixTime note_at_ = 0;  ///< of the note that was read last, and since when it is that one
    Clock::time_point note_seen_;
    std::shared_ptr<const Rendered> rendered_;
    std::vector<ops::health::JobEntry> heard_;  ///< of a list that is not whole yet
    std::atomic<bool> look_now_{false};
    std::vector<ops::health::Change> silence_;  ///< what nobody outside has been told yet
    Clock::time_point unanswered_;              ///< when receivers did not answer last
    std::jthread refresher_;
};

/// Equal, in a time that does not tell where they differ.
bool same_secret(std::string_view one, std::string_view other);

}  // namespace chronos::serve
