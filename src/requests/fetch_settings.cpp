#include "chronos/requests/fetch_settings.h"

#include <cstdlib>

namespace chronos::requests {

ops::mount::FetchSettings fetch_settings(const config::Config& config) {
    ops::mount::FetchSettings settings;
    settings.cache_bytes = config.get_size("mount-cache-size");
    settings.spool_bytes = config.get_size("mount-spool-size");
    const char* const scratch = std::getenv("TMPDIR");
    settings.spool_path = scratch == nullptr || *scratch == '\0' ? "/var/tmp" : scratch;
    settings.process_max = static_cast<unsigned>(config.get_int("process-max"));
    settings.io_timeout = config.get_time("io-timeout");
    return settings;
}

}  // namespace chronos::requests
