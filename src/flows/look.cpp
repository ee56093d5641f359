#include "chronos/flows/look.h"

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "flows/restored_past.h"
#include "flows/shown.h"

namespace chronos::flows {
namespace {

/// What `serve` does with the server, and, where that fails, what it could not read.
Result<> serve_shown(const LookRequest& request, Showing& showing,
                     const std::function<Result<>(const ops::drill::DrillRequest& server,
                                                  const ops::drill::Show& show)>& serve) {
    const Result<> served = serve(showing.asked_of(request.server), showing.show());
    const ops::mount::ScratchMount::Figures& figures = showing.figures();
    if (request.fetched) request.fetched(figures);
    if (served || figures.fetches > 0)
        log_info("the look ends: " + format_size(figures.fetched_bytes) + " in " +
                 std::to_string(figures.fetches) + " fetches, " + std::to_string(figures.failures) +
                 " failures");
    // All that the server knows of it is an I/O error.
    if (!served && served.error().kind() != ErrorKind::cancelled && !showing.hint().empty())
        return Error(served.error()).with_hint(showing.hint());
    return served;
}

}  // namespace

Result<> run_look(const LookRequest& request,
                  const std::function<Result<>(const ops::drill::Look&)>& ready,
                  const ProgressReceiver& progress, const Cancellation& cancel) {
    Showing showing({request.restore, request.mount, AtTarget::stand_still}, cancel);
    return serve_shown(request, showing,
                       [&](const ops::drill::DrillRequest& server, const ops::drill::Show& show) {
                           return ops::drill::run_look(server, show, ready, progress, cancel);
                       });
}

Result<> run_in_past(const LookRequest& request, const ReadInPast& read,
                     const std::function<Result<>(const ops::drill::Look&)>& work,
                     const ProgressReceiver& progress, const Cancellation& cancel) {
    if (request.by_restore) return run_in_restored_past(request, read, work, progress, cancel);
    if (progress) progress({.phase = "mount"});
    Showing showing({request.restore, request.mount, AtTarget::open}, cancel);
    const Result<> served =
        serve_shown(request, showing,
                    [&](const ops::drill::DrillRequest& server, const ops::drill::Show& show) {
                        return ops::drill::run_opened(server, show, work, progress, cancel);
                    });
    if (served || !showing.may_not_mount()) return served;
    log_info(served.error().message() + ": what is needed is restored");
    return run_in_restored_past(request, read, work, progress, cancel);
}

}  // namespace chronos::flows
