#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "cli/health_view.h"
#include "cli/serve/http_server.h"

namespace chronos::cli::serve {

struct ServiceOptions {
    std::string token;  ///< "": none is asked for
    /// Requests must name this machine: a web page elsewhere can make a browser ask, but its own
    /// name then stands in the request.
    bool local_only = true;
};

/// What is served, and when the repositories are looked at: in a thread of its own, at an interval.
/// A request is answered from what that saw last; it never waits for a repository.
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

private:
    /// Answers that are the same for everybody for a second.
    struct Rendered {
        std::shared_ptr<const HealthView> view;
        std::string summary;
        std::string status;
        std::string metrics;
        std::string openmetrics;
        int health_status = 200;
    };

    std::shared_ptr<const Rendered> rendered();
    std::shared_ptr<const Rendered> render(UnixTime now);
    HealthView view_at(UnixTime now);
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
    ops::health::RuleMemories memories_;
    std::shared_ptr<const Rendered> rendered_;
    std::jthread refresher_;
};

/// Equal, in a time that does not tell where they differ.
bool same_secret(std::string_view one, std::string_view other);

}  // namespace chronos::cli::serve
