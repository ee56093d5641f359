#include "chronos/base/late_library.h"
#include "fuse/library.h"

namespace {
constinit chronos::LateLibrary fuse(CHRONOS_FUSE_LIBRARY);
}

// Since 3.17 the header has a function of the former name, which calls this one.
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
CHRONOS_LATE(fuse, fuse_session*, fuse_session_new_versioned,
             (fuse_args * arguments, const fuse_lowlevel_ops* operations, size_t size,
              libfuse_version* version, void* data),
             (arguments, operations, size, version, data))
#else
CHRONOS_LATE(fuse, fuse_session*, fuse_session_new,
             (fuse_args * arguments, const fuse_lowlevel_ops* operations, size_t size, void* data),
             (arguments, operations, size, data))
#endif
CHRONOS_LATE(fuse, int, fuse_session_mount, (fuse_session * session, const char* path),
             (session, path))
CHRONOS_LATE(fuse, void, fuse_session_unmount, (fuse_session * session), (session))
CHRONOS_LATE(fuse, void, fuse_session_destroy, (fuse_session * session), (session))
CHRONOS_LATE(fuse, int, fuse_session_fd, (fuse_session * session), (session))
CHRONOS_LATE(fuse, int, fuse_session_exited, (fuse_session * session), (session))
CHRONOS_LATE(fuse, int, fuse_session_receive_buf, (fuse_session * session, fuse_buf* buffer),
             (session, buffer))
CHRONOS_LATE(fuse, void, fuse_session_process_buf, (fuse_session * session, const fuse_buf* buffer),
             (session, buffer))
CHRONOS_LATE(fuse, void, fuse_set_log_func, (fuse_log_func_t receive), (receive))
CHRONOS_LATE(fuse, int, fuse_opt_add_arg, (fuse_args * arguments, const char* text),
             (arguments, text))
CHRONOS_LATE(fuse, void, fuse_opt_free_args, (fuse_args * arguments), (arguments))
CHRONOS_LATE(fuse, void*, fuse_req_userdata, (fuse_req_t request), (request))
CHRONOS_LATE(fuse, const fuse_ctx*, fuse_req_ctx, (fuse_req_t request), (request))
CHRONOS_LATE(fuse, int, fuse_req_interrupted, (fuse_req_t request), (request))
CHRONOS_LATE(fuse, int, fuse_reply_err, (fuse_req_t request, int error), (request, error))
CHRONOS_LATE(fuse, void, fuse_reply_none, (fuse_req_t request), (request))
CHRONOS_LATE(fuse, int, fuse_reply_entry, (fuse_req_t request, const fuse_entry_param* entry),
             (request, entry))
CHRONOS_LATE(fuse, int, fuse_reply_attr,
             (fuse_req_t request, const struct stat* status, double timeout),
             (request, status, timeout))
CHRONOS_LATE(fuse, int, fuse_reply_open, (fuse_req_t request, const fuse_file_info* file),
             (request, file))
CHRONOS_LATE(fuse, int, fuse_reply_create,
             (fuse_req_t request, const fuse_entry_param* entry, const fuse_file_info* file),
             (request, entry, file))
CHRONOS_LATE(fuse, int, fuse_reply_readlink, (fuse_req_t request, const char* target),
             (request, target))
CHRONOS_LATE(fuse, int, fuse_reply_write, (fuse_req_t request, size_t size), (request, size))
CHRONOS_LATE(fuse, int, fuse_reply_buf, (fuse_req_t request, const char* data, size_t size),
             (request, data, size))
CHRONOS_LATE(fuse, int, fuse_reply_statfs, (fuse_req_t request, const struct statvfs* status),
             (request, status))
CHRONOS_LATE(fuse, size_t, fuse_add_direntry,
             (fuse_req_t request, char* data, size_t size, const char* name,
              const struct stat* status, off_t offset),
             (request, data, size, name, status, offset))
CHRONOS_LATE(fuse, size_t, fuse_add_direntry_plus,
             (fuse_req_t request, char* data, size_t size, const char* name,
              const fuse_entry_param* entry, off_t offset),
             (request, data, size, name, entry, offset))
