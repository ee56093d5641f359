#include "chronos/requests/verify_request.h"

#include "chronos/base/text.h"
#include "chronos/requests/repositories.h"

namespace chronos::requests {

Result<ops::verify::VerifyRequest> verify_request(const config::Config& config) {
    ops::verify::VerifyRequest request;
    request.stanza = config.stanza();
    request.repositories = CHRONOS_TRY(open_repositories(config));
    if (const std::string sets = config.get_string("set"); !sets.empty())
        for (const std::string_view set : split(sets, ',')) request.sets.emplace_back(trim(set));
    request.full = config.get_bool("full");
    request.process_max = static_cast<std::size_t>(config.get_int("process-max"));
    request.bytes_per_second_max = config.get_size("rate-limit");
    return request;
}

}  // namespace chronos::requests
