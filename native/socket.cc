// Sockets of every family: AF_XDP, AF_PACKET, netlink, inet.
#include "common.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

namespace pollmode {
namespace {

const struct sockaddr* Name(View address) { return reinterpret_cast<const struct sockaddr*>(address.data); }
socklen_t Length(View view) { return static_cast<socklen_t>(view.length); }

Napi::Value Socket(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int domain = arguments.Int(0);
  const int type = arguments.Int(1);
  const int protocol = arguments.Int(2);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Result(socket(domain, type | SOCK_CLOEXEC, protocol));
}

Napi::Value Bind(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const View address = arguments.Bytes(1);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Result(bind(fd, Name(address), Length(address)));
}

Napi::Value Connect(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const View address = arguments.Bytes(1);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Result(connect(fd, Name(address), Length(address)));
}

Napi::Value SetOption(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const int level = arguments.Int(1);
  const int name = arguments.Int(2);
  const View value = arguments.Bytes(3);
  const bool fixed = arguments.Fix(4, value);
  if (arguments.failed()) return arguments.Undefined();
  if (!fixed) return arguments.Number(-EINVAL);
  return arguments.Result(setsockopt(fd, level, name, value.data, Length(value)));
}

Napi::Value GetOption(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const int level = arguments.Int(1);
  const int name = arguments.Int(2);
  const View value = arguments.Bytes(3);
  if (arguments.failed()) return arguments.Undefined();
  socklen_t length = Length(value);
  const int result = getsockopt(fd, level, name, value.data, &length);
  return arguments.Result(result < 0 ? -1 : static_cast<long>(length));
}

Napi::Value Send(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const View bytes = arguments.BytesOrNull(1);
  const int flags = arguments.Int(2);
  const View address = arguments.BytesOrNull(3);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Result(sendto(fd, bytes.data, bytes.length, flags, Name(address), Length(address)));
}

Napi::Value Receive(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const View bytes = arguments.BytesOrNull(1);
  const int flags = arguments.Int(2);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Result(recvfrom(fd, bytes.data, bytes.length, flags, nullptr, nullptr));
}

Napi::Value Listen(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const int backlog = arguments.Int(1);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Result(listen(fd, backlog));
}

Napi::Value Accept(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const int flags = arguments.Int(1);
  if (arguments.failed()) return arguments.Undefined();
  return arguments.Result(accept4(fd, nullptr, nullptr, flags | SOCK_CLOEXEC));
}

// SCM_MAX_FD of the kernel (include/net/scm.h): more are never sent in one message.
constexpr size_t kMostFds = 253;

// One message's parts, for sendmsg and recvmsg. The control buffer is aligned as struct cmsghdr wants it.
struct Message {
  Message(View bytes, size_t fds) : part{bytes.data, bytes.length} {
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (fds > 0) header.msg_control = control;
    header.msg_controllen = fds > 0 ? CMSG_SPACE(fds * sizeof(int)) : 0;
  }
  struct iovec part;
  struct msghdr header = {};
  alignas(struct cmsghdr) unsigned char control[CMSG_SPACE(kMostFds * sizeof(int))] = {};
};

Napi::Value SendFds(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const View bytes = arguments.Bytes(1);
  const View fds = arguments.Ints(2);
  const int flags = arguments.Int(3);
  if (arguments.failed()) return arguments.Undefined();
  if (fds.length > kMostFds * sizeof(int)) return arguments.Number(-EINVAL);
  Message message(bytes, fds.length / sizeof(int));
  if (fds.length > 0) {
    struct cmsghdr* control = CMSG_FIRSTHDR(&message.header);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(fds.length);
    std::memcpy(CMSG_DATA(control), fds.data, fds.length);
  }
  return arguments.Result(sendmsg(fd, &message.header, flags | MSG_NOSIGNAL));
}

// Stores the descriptors that came into `fds`, from its front, and closes those for which there is no place. What is left of it is -1.
void TakeFds(struct msghdr* header, View fds) {
  auto* places = reinterpret_cast<int32_t*>(fds.data);
  const size_t room = fds.length / sizeof(int32_t);
  size_t taken = 0;
  for (struct cmsghdr* control = CMSG_FIRSTHDR(header); control != nullptr; control = CMSG_NXTHDR(header, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof fd);
      if (taken < room) places[taken++] = fd;
      else close(fd);
    }
  }
  while (taken < room) places[taken++] = -1;
}

Napi::Value ReceiveFds(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int fd = arguments.Int(0);
  const View bytes = arguments.Bytes(1);
  const View fds = arguments.Ints(2);
  const int flags = arguments.Int(3);
  if (arguments.failed()) return arguments.Undefined();
  // Room for all that can come, so that the kernel cuts none off unseen.
  Message message(bytes, kMostFds);
  const ssize_t got = recvmsg(fd, &message.header, flags | MSG_CMSG_CLOEXEC);
  if (got < 0) return arguments.Result(-1);
  TakeFds(&message.header, fds);
  return arguments.Number(static_cast<double>(got));
}

}  // namespace

void InitSocket(Napi::Env env, Napi::Object exports) {
  Export<Socket>(env, exports, "socket");
  Export<Bind>(env, exports, "bind");
  Export<Connect>(env, exports, "connect");
  Export<SetOption>(env, exports, "setsockopt");
  Export<GetOption>(env, exports, "getsockopt");
  Export<Send>(env, exports, "send");
  Export<Receive>(env, exports, "recv");
  Export<Listen>(env, exports, "listen");
  Export<Accept>(env, exports, "accept");
  Export<SendFds>(env, exports, "sendFds");
  Export<ReceiveFds>(env, exports, "recvFds");
}

}  // namespace pollmode
