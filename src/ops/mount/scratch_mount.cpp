#include "chronos/ops/mount/scratch_mount.h"

#include <sys/resource.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "chronos/base/cancel.h"
#include "chronos/base/log.h"
#include "chronos/fuse/session.h"
#include "chronos/repo/side/mount_hold.h"
#include "ops/mount/content.h"
#include "ops/mount/overlay.h"
#include "ops/mount/start_set.h"

namespace chronos::ops::mount {
namespace {

/// A server has thousands of files open, and each of them that was changed is one here.
void permit_many_open_files() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

Result<> keep_mounts_to_myself() {
    CHRONOS_TRY(fuse::check_usable());
    return fuse::keep_mounts_to_myself();
}

struct ScratchMount::State {
    const ScratchMountRequest request;
    std::unique_ptr<repo::MountHold> held;
    Overlay files;
    Content content;  ///< ends before those in which it puts what it fetches
    Cancellation ending;
    std::unique_ptr<fuse::Session> session;
    std::thread serving;

    State(const ScratchMountRequest& request_, const repo::Manifest& manifest)
        : request(request_),
          files(
              manifest,
              [this](const repo::ManifestFile& file, std::uint64_t offset, std::size_t size,
                     const fuse::Interrupted& interrupted, std::string& out) {
                  return content.read(file, offset, size, interrupted, out);
              },
              request.path, request.scratch_path),
          content(request.repository, request.stanza, manifest,
                  limits_of(request.fetch, *request.repository.storage),
                  [this](const repo::ManifestFile& file, const std::vector<Piece>& pieces) {
                      return files.keep(file, pieces);
                  }) {}
    ~State() {
        ending.request();
        if (serving.joinable()) serving.join();
        session = nullptr;
    }
};

ScratchMount::ScratchMount(std::unique_ptr<State> state) : state_(std::move(state)) {}
ScratchMount::~ScratchMount() = default;

std::string ScratchMount::data_of(const std::string& path) {
    return path + "/" + std::string(Overlay::kData);
}

Result<std::unique_ptr<ScratchMount>> ScratchMount::make(const ScratchMountRequest& request,
                                                         const repo::Manifest& manifest) {
    permit_many_open_files();
    auto state = std::make_unique<State>(request, manifest);
    // Where a request is a round trip, those that a server makes one after the other are its start.
    if (request.repository.storage->features().remote)
        state->content.fetch_ahead(start_set(manifest, request.databases));
    auto held = repo::MountHold::take(
        request.repository,
        {request.stanza, manifest.label, request.path, request.exec_id, /*for_look=*/true});
    if (held)
        state->held = *std::move(held);
    else
        log_warn("backup " + manifest.label +
                 " may expire while it is looked at: " + held.error().text());
    state->session = CHRONOS_TRY(fuse::Session::mount(
        state->files, {.path = request.path, .source = "chronos-scratch", .by_myself = true}));
    state->serving = std::thread([&state = *state] {
        if (const auto served = state.session->serve(state.ending); !served)
            log_warn("the mount on '" + state.request.path + "' ends: " + served.error().text());
    });
    return std::unique_ptr<ScratchMount>(new ScratchMount(std::move(state)));
}

ScratchMount::Figures ScratchMount::figures() const {
    const ContentFigures figures = state_->content.figures();
    return {figures.fetches, figures.fetched_bytes, figures.failures, figures.last_failure};
}

Result<> ScratchMount::check() const {
    return state_->files.check();
}

}  // namespace chronos::ops::mount
