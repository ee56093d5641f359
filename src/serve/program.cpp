#include "chronos/serve/program.h"

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/requests/repositories.h"
#include "chronos/storage/posix/posix_storage.h"
#include "chronos/storage/storage.h"
#include "serve/http_server.h"
#include "serve/service.h"

namespace chronos::serve {
namespace {

constexpr std::size_t kTokenSizeMin = 16;
constexpr std::size_t kTokenSizeMax = 4096;

Result<std::string> read_token(const std::string& path) {
    if (path.empty()) return std::string();
    const std::size_t slash = path.rfind('/');
    const auto storage = storage::make_posix_storage(path.substr(0, slash));
    const std::string text =
        CHRONOS_TRY_DOING(storage::read_object(*storage, path.substr(slash + 1), kTokenSizeMax),
                          "read http-token-file");
    const std::string token(trim(text));
    if (token.size() < kTokenSizeMin)
        return Error(ErrorKind::option_invalid_value,
                     "the token in '" + path + "' is too short to be a secret")
            .with_hint("Make one: openssl rand -hex 32");
    return token;
}

Result<> check_exposure(const config::Config& config, const HttpOptions& http,
                        const std::string& token) {
    if (is_local_address(http.host) || !token.empty()) {
        if (!token.empty() && !is_local_address(http.host) && http.tls_cert_file.empty())
            log_warn(
                "the token crosses the network in clear text: set http-tls-cert-file and "
                "http-tls-key-file, or serve behind something that speaks TLS");
        return {};
    }
    if (config.get_bool("http-open")) {
        log_warn("whoever reaches '" + config.get_string("http-listen") +
                 "' learns names and sizes of all backups: no token is asked for");
        return {};
    }
    return Error(ErrorKind::option_invalid_value,
                 "'" + config.get_string("http-listen") + "' is not local, and there is no token")
        .with_hint("Set http-token-file, serve on localhost, or allow everybody with http-open=y.");
}

Result<HttpOptions> http_options(const config::Config& config) {
    HttpOptions http;
    std::tie(http.host, http.port) =
        CHRONOS_TRY(parse_listen_address(config.get_string("http-listen")));
    http.tls_cert_file = config.get_string("http-tls-cert-file");
    http.tls_key_file = config.get_string("http-tls-key-file");
    if (http.tls_cert_file.empty() != http.tls_key_file.empty())
        return Error(ErrorKind::option_required,
                     "http-tls-cert-file and http-tls-key-file need each other");
    return http;
}

/// Everything that serves, in the order in which it may end.
struct Running {
    std::unique_ptr<Service> service;
    std::unique_ptr<HttpServer> server;
};

Result<Running> start(requests::Context& context) {
    const config::Config& config = context.config;
    HttpOptions http = CHRONOS_TRY(http_options(config));
    ServiceOptions options;
    options.token = CHRONOS_TRY(read_token(config.get_string("http-token-file")));
    CHRONOS_TRY(check_exposure(config, http, options.token));
    options.local_only = options.token.empty() && is_local_address(http.host);
    auto repositories = CHRONOS_TRY(requests::open_repositories(config));
    Running running;
    running.service = std::make_unique<Service>(config, std::move(repositories), std::move(options),
                                                context.cancel);
    Service* service = running.service.get();
    const std::string scheme = http.tls_cert_file.empty() ? "http://" : "https://";
    const std::string host = http.host.empty() ? "*" : http.host;
    running.server =
        CHRONOS_TRY(HttpServer::start(std::move(http), [service](const HttpRequest& request) {
            return service->handle(request);
        }));
    service->start_refreshing();
    log_info("serving on " + scheme +
             (host.find(':') != std::string::npos ? "[" + host + "]" : host) + ":" +
             std::to_string(running.server->port()));
    return running;
}

}  // namespace

Result<int> run(requests::Context& context) {
    const Running running = CHRONOS_TRY(start(context));
    // A signal is how it ends, and no failure.
    while (context.cancel.sleep(std::chrono::seconds(3600))) {
    }
    return 0;
}

Result<> run_engine(requests::Context& context, engine::Channel& channel) {
    const Running running = CHRONOS_TRY(start(context));
    for (;;) {
        const auto message = channel.receive(context.cancel);
        if (!message && message.error().kind() == ErrorKind::cancelled) return {};
        if (!message) return message.error();
        if (!*message) return {};
        running.service->learn(**message);
    }
}

}  // namespace chronos::serve
