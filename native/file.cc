// Files: open, ioctl, read, write, poll, eventfd.
#include "common.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <vector>

namespace pollmode {
namespace {

Napi::Value Open(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const std::string path = arguments.String(0);
  const int flags = arguments.Int(1);
  if (arguments.failed()) return arguments.Undefined();
  if (path.find('\0') != std::string::npos) return arguments.Number(-EINVAL);
  return arguments.Result(open(path.c_str(), flags | O_CLOEXEC, 0600));
}

Napi::Value Close(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Result(close(fd));
}

// Puts a descriptor's file behind another number, in one step: whoever uses that number has the new file from then on.
Napi::Value Replace(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const int by = arguments.Int(1);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Result(dup3(by, fd, O_CLOEXEC));
}

// The kernel reads and writes at least this much: what the number itself says, or an ifreq for the socket ioctls, whose
// numbers are older than that custom.
size_t LeastSize(uint32_t request) {
  if ((request >> 8) == 0x89) return sizeof(struct ifreq);
  return _IOC_DIR(request) == _IOC_NONE ? 0 : _IOC_SIZE(request);
}

Napi::Value Ioctl(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const uint32_t request = arguments.Unsigned(1);
  if (arguments.IsNumber(2)) {
    const long value = static_cast<long>(arguments.Double(2));
    if (arguments.failed()) return arguments.Undefined();
    return arguments.Result(ioctl(fd, request, value));
  }
  const View structure = arguments.Bytes(2);
  const bool fixed = arguments.Fix(3, structure);
  if (arguments.failed()) return arguments.Undefined();
  if (!fixed || structure.length < LeastSize(request)) return arguments.Number(-EINVAL);
  return arguments.Result(ioctl(fd, request, structure.data));
}

Napi::Value Read(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const View into = arguments.Bytes(1);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Result(read(fd, into.data, into.length));
}

Napi::Value Write(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const View from = arguments.Bytes(1);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Result(write(fd, from.data, from.length));
}

Napi::Value Poll(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const View pairs = arguments.Ints(0);
  const int timeout = arguments.Int(1);
  if (arguments.failed()) return arguments.Undefined();
  auto* words = reinterpret_cast<int32_t*>(pairs.data);
  const size_t count = pairs.length / 8;
  std::vector<struct pollfd> fds(count);
  for (size_t i = 0; i < count; i++) fds[i] = {words[2 * i], static_cast<short>(words[2 * i + 1]), 0};
  const int ready = poll(fds.data(), count, timeout);
  if (ready < 0) return arguments.Result(-1);
  for (size_t i = 0; i < count; i++) words[2 * i + 1] = fds[i].revents;
  return arguments.Number(ready);
}

Napi::Value Eventfd(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const uint32_t initial = arguments.Unsigned(0);
  const int flags = arguments.Int(1);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Result(eventfd(initial, flags | EFD_CLOEXEC));
}

// One call per packet, in order, until one is refused. `call` gets the packet's place and returns what the kernel said.
template <typename Call>
Napi::Value Each(const Napi::CallbackInfo& info, bool lengths, Call call) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const View bytes = arguments.Bytes(1);
  const View list = arguments.Words(2);
  const uint32_t count = arguments.Unsigned(3);
  const int flags = arguments.Absent(4) ? 0 : arguments.Int(4);
  if (arguments.failed()) return arguments.Undefined();
  if (list.length < size_t{8} * count) return arguments.Number(-EINVAL);
  auto* pairs = reinterpret_cast<uint32_t*>(list.data);
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t offset = pairs[2 * i];
    const uint32_t length = pairs[2 * i + 1];
    const ssize_t done = bytes.holds(offset, length) ? call(fd, bytes.data + offset, length, flags) : (errno = EINVAL, -1);
    if (done < 0) return i == 0 ? arguments.Result(-1) : arguments.Number(i);
    if (lengths) pairs[2 * i + 1] = static_cast<uint32_t>(done);
  }
  return arguments.Number(count);
}

// What a packet's own place has no room for goes into `spill`; the call ends behind a packet that has used it.
Napi::Value ReadEachSpilling(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const View bytes = arguments.Bytes(1);
  const View list = arguments.Words(2);
  const uint32_t count = arguments.Unsigned(3);
  const uint32_t spill = arguments.Unsigned(4);
  const uint32_t spill_length = arguments.Unsigned(5);
  if (arguments.failed()) return arguments.Undefined();
  if (list.length < size_t{8} * count || !bytes.holds(spill, spill_length)) return arguments.Number(-EINVAL);
  auto* pairs = reinterpret_cast<uint32_t*>(list.data);
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t capacity = pairs[2 * i + 1];
    if (!bytes.holds(pairs[2 * i], capacity)) return arguments.Number(i == 0 ? -EINVAL : static_cast<int>(i));
    const struct iovec parts[] = {{bytes.data + pairs[2 * i], capacity}, {bytes.data + spill, spill_length}};
    const ssize_t done = readv(fd, parts, 2);
    if (done < 0) return i == 0 ? arguments.Result(-1) : arguments.Number(i);
    pairs[2 * i + 1] = static_cast<uint32_t>(done);
    if (static_cast<size_t>(done) > capacity) return arguments.Number(i + 1);
  }
  return arguments.Number(count);
}

Napi::Value Writev(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const View bytes = arguments.Bytes(1);
  const View list = arguments.Words(2);
  const uint32_t count = arguments.Unsigned(3);
  if (arguments.failed()) return arguments.Undefined();
  if (list.length < size_t{8} * count || count > 1024) return arguments.Number(-EINVAL);
  const auto* pairs = reinterpret_cast<uint32_t*>(list.data);
  struct iovec parts[1024];
  for (uint32_t i = 0; i < count; i++) {
    if (!bytes.holds(pairs[2 * i], pairs[2 * i + 1])) return arguments.Number(-EINVAL);
    parts[i] = {bytes.data + pairs[2 * i], pairs[2 * i + 1]};
  }
  return arguments.Result(writev(fd, parts, static_cast<int>(count)));
}

Napi::Value ReadEach(const Napi::CallbackInfo& info) {
  return Each(info, true, [](int fd, uint8_t* at, size_t length, int) { return read(fd, at, length); });
}

Napi::Value WriteEach(const Napi::CallbackInfo& info) {
  return Each(info, false, [](int fd, uint8_t* at, size_t length, int) { return write(fd, at, length); });
}

Napi::Value SendEach(const Napi::CallbackInfo& info) {
  return Each(info, false, [](int fd, uint8_t* at, size_t length, int flags) {
    return sendto(fd, at, length, flags, nullptr, 0);
  });
}

}  // namespace

void InitFile(Napi::Env env, Napi::Object exports) {
  Export<Open>(env, exports, "open");
  Export<Close>(env, exports, "close");
  Export<Replace>(env, exports, "replace");
  Export<Ioctl>(env, exports, "ioctl");
  Export<Read>(env, exports, "read");
  Export<Write>(env, exports, "write");
  Export<Poll>(env, exports, "poll");
  Export<Eventfd>(env, exports, "eventfd");
  Export<ReadEach>(env, exports, "readEach");
  Export<ReadEachSpilling>(env, exports, "readEachSpilling");
  Export<WriteEach>(env, exports, "writeEach");
  Export<Writev>(env, exports, "writev");
  Export<SendEach>(env, exports, "sendEach");
}

}  // namespace pollmode
