#include "chronos/ops/stop/stop.h"

#include "chronos/base/log.h"
#include "chronos/repo/local/lock.h"

namespace chronos::ops::stop {

Result<> stop(const StopRequest& request) {
    if (!CHRONOS_TRY(repo::write_stop_file(request.lock_path, request.stanza)))
        log_warn("stop file already exists for " +
                 (request.stanza.empty() ? "all stanzas" : "stanza " + request.stanza));
    if (!request.force) return {};
    for (const int pid :
         CHRONOS_TRY(repo::terminate_lock_holders(request.lock_path, request.stanza)))
        log_info("sent term signal to process " + std::to_string(pid));
    return {};
}

Result<> start(const StopRequest& request) {
    if (!CHRONOS_TRY(repo::remove_stop_file(request.lock_path, request.stanza)))
        log_warn("stop file does not exist" +
                 (request.stanza.empty() ? "" : " for stanza " + request.stanza));
    return {};
}

}  // namespace chronos::ops::stop
