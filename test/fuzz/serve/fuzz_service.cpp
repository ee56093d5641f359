// What a request that was read whole is answered, whoever asks: who has no token learns nothing but
// that the program lives, a name that is not this machine's is not answered, a refusal has nothing
// of the request in it, and what is said to be JSON is.
#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "chronos/base/cancel.h"
#include "chronos/base/text.h"
#include "chronos/config/config.h"
#include "fuzz.h"
#include "memory_storage.h"
#include "serve/service.h"

namespace {

using namespace chronos;
using namespace chronos::serve;

constexpr const char* kToken = "sesame";
/// "chronos:sesame"
constexpr const char* kBasic = "Basic Y2hyb25vczpzZXNhbWU=";

/// One of each kind: asked for a token or not, for this machine only or not, and before and after
/// the first look at the repositories.
struct Services {
    Services() {
        std::vector<std::string> warnings;
        auto resolved = config::resolve(
            {.arguments = {"--no-config", "serve", "--stanza=main", "--lock-path=/nonexistent/lock",
                           "--spool-path=/nonexistent/spool"},
             .environment = {},
             .program = "chronos",
             .terminal = false,
             .exec_id = {}},
            warnings);
        require(static_cast<bool>(resolved));
        config = *std::move(resolved);
        repo::Repository repository;
        repository.storage = std::make_shared<test::MemoryStorage>();
        for (unsigned kind = 0; kind < all.size(); ++kind) {
            const ServiceOptions options{.token = (kind & 1) != 0 ? kToken : "",
                                         .local_only = (kind & 2) != 0};
            all[kind] = std::make_unique<Service>(config, std::vector{repository}, options, cancel);
            if ((kind & 4) != 0) all[kind]->refresh();
        }
    }
    config::Config config;
    Cancellation cancel;
    std::array<std::unique_ptr<Service>, 8> all;
};

HttpRequest request_of(Input& input) {
    HttpRequest request;
    request.method = (input.byte() & 1) != 0 ? "HEAD" : "GET";
    // The likely ones are not left to chance.
    constexpr std::array kPaths{"/",        "/health", "/metrics", "/api/status.json",
                                "/healthz", "/readyz"};
    const std::uint8_t path = input.byte();
    const std::vector<std::string_view> lines = split(input.rest(), '\n');
    const auto line = [&](std::size_t i) {
        return i < lines.size() ? std::string(lines[i]) : std::string();
    };
    request.path = path < kPaths.size() ? kPaths[path] : line(0);
    request.host = line(1);
    request.accept = line(2);
    request.authorization = line(3);
    return request;
}

/// As a browser would have to write it for this machine.
bool may_be_local(const std::string& host) {
    const std::string name = to_lower(host);
    return name.empty() || name.starts_with("localhost") || name.starts_with("127.") ||
           name.starts_with("[::1]") || name.starts_with("::1");
}

void check_form(const HttpResponse& response) {
    constexpr std::array kStatuses{200, 401, 404, 421, 503};
    require(std::ranges::find(kStatuses, response.status) != kStatuses.end());
    for (const auto& [name, value] : response.headers)
        require((name + value).find_first_of("\r\n") == std::string::npos);
    if (response.content_type == "application/json") require(nlohmann::json::accept(response.body));
    // A refusal says the same to everybody, whatever the request was.
    static std::map<int, std::string> refusals;
    if (response.status != 200 && response.status != 503)
        require(refusals.emplace(response.status, response.body).first->second == response.body);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Services services;
    Input input(data, size);
    const unsigned kind = input.byte() % services.all.size();
    Service& service = *services.all[kind];
    const HttpRequest request = request_of(input);
    const HttpResponse response = service.handle(request);
    check_form(response);
    if (request.path == "/healthz") require(response.status == 200);
    if (request.path == "/healthz" || request.path == "/readyz") return 0;

    const bool with_token = (kind & 1) != 0;
    const bool local_only = (kind & 2) != 0;
    if (local_only && !may_be_local(request.host)) require(response.status == 421);
    if (!local_only) require(response.status != 421);
    if (!with_token) require(response.status != 401);
    // A Basic header may be written in more ways than one; each has the secret's letters in it.
    const std::string& given = request.authorization;
    if (with_token && given != std::string("Bearer ") + kToken && !given.starts_with("Basic "))
        require(response.status == 401 || response.status == 421);

    // With the token it is what a service without one answers.
    HttpRequest known = request;
    known.authorization = input.rest().size() % 2 == 0 ? kBasic : std::string("Bearer ") + kToken;
    const HttpResponse allowed = service.handle(known);
    require(allowed.status != 401);
    const HttpResponse open = services.all[kind & ~1u]->handle(request);
    require(open.status == allowed.status && open.content_type == allowed.content_type);
    if (response.status != 401) require(response.status == allowed.status);
    return 0;
}
