#include "chronos/flows/look.h"

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "flows/shown.h"

namespace chronos::flows {

Result<> run_look(const LookRequest& request,
                  const std::function<Result<>(const ops::drill::Look&)>& ready,
                  const ProgressReceiver& progress, const Cancellation& cancel) {
    Showing showing({request.restore, request.mount}, cancel);
    const ops::drill::DrillRequest server = showing.asked_of(request.server);
    const Result<> looked = ops::drill::run_look(server, showing.show(), ready, progress, cancel);
    const ops::mount::ScratchMount::Figures& figures = showing.figures();
    if (looked || figures.fetches > 0)
        log_info("the look ends: " + format_size(figures.fetched_bytes) + " in " +
                 std::to_string(figures.fetches) + " fetches, " + std::to_string(figures.failures) +
                 " failures");
    // All that the server knows of it is an I/O error.
    if (!looked && looked.error().kind() != ErrorKind::cancelled && !showing.hint().empty())
        return Error(looked.error()).with_hint(showing.hint());
    return looked;
}

}  // namespace chronos::flows
