/* Source filters of multicast groups and the ideal send backlog, by their ioctl codes as on Windows. WSAIoctl refuses these
 * codes, so each function fails with WSAEOPNOTSUPP. */
#ifndef GQOS_SOURCE_FILTERS_H
#define GQOS_SOURCE_FILTERS_H

static __inline int gqos_filter_ioctl(SOCKET s, DWORD code, void *in, size_t in_size, void *out, size_t out_size) {
    DWORD returned = 0;
    return WSAIoctl(s, code, in, (DWORD)in_size, out, (DWORD)out_size, &returned, NULL, NULL);
}
/* A filter of this size with zeros, or NULL and WSAENOBUFS. */
static __inline void *gqos_new_filter(size_t size) {
    void *filter = size <= 0x7fffffff ? calloc(1, size) : NULL;
    if (!filter)
        WSASetLastError(WSAENOBUFS);
    return filter;
}

static __inline int setipv4sourcefilter(SOCKET s, IN_ADDR interface_address, IN_ADDR group, MULTICAST_MODE_TYPE mode,
                                        ULONG count, const IN_ADDR *sources) {
    size_t size = IP_MSFILTER_SIZE((size_t)count);
    PIP_MSFILTER filter = (PIP_MSFILTER)gqos_new_filter(size < sizeof(IP_MSFILTER) ? sizeof(IP_MSFILTER) : size);
    int result;
    if (!filter)
        return SOCKET_ERROR;
    filter->imsf_multiaddr = group;
    filter->imsf_interface = interface_address;
    filter->imsf_fmode = mode;
    filter->imsf_numsrc = count;
    if (count)
        memcpy(filter->imsf_slist, sources, count * sizeof *sources);
    result = gqos_filter_ioctl(s, SIO_SET_MULTICAST_FILTER, filter, size, NULL, 0);
    free(filter);
    return result;
}

/* *count is how many addresses `sources` holds, and afterwards how many the filter has. */
static __inline int getipv4sourcefilter(SOCKET s, IN_ADDR interface_address, IN_ADDR group, MULTICAST_MODE_TYPE *mode,
                                        ULONG *count, IN_ADDR *sources) {
    size_t size = IP_MSFILTER_SIZE((size_t)*count);
    PIP_MSFILTER filter = (PIP_MSFILTER)gqos_new_filter(size < sizeof(IP_MSFILTER) ? sizeof(IP_MSFILTER) : size);
    int result;
    if (!filter)
        return SOCKET_ERROR;
    filter->imsf_multiaddr = group;
    filter->imsf_interface = interface_address;
    filter->imsf_numsrc = *count;
    result = gqos_filter_ioctl(s, SIO_GET_MULTICAST_FILTER, filter, size, filter, size);
    if (result == 0) {
        ULONG held = filter->imsf_numsrc < *count ? filter->imsf_numsrc : *count;
        if (held)
            memcpy(sources, filter->imsf_slist, held * sizeof *sources);
        *mode = filter->imsf_fmode;
        *count = filter->imsf_numsrc;
    }
    free(filter);
    return result;
}

/* A filter of either family, with its group; the size that the ioctl takes is written. */
static __inline PGROUP_FILTER gqos_new_group_filter(ULONG interface_index, const SOCKADDR *group, int length, ULONG count,
                                                    size_t *size) {
    PGROUP_FILTER filter;
    if (length < 0 || (size_t)length > sizeof(SOCKADDR_STORAGE)) {
        WSASetLastError(WSAEINVAL);
        return NULL;
    }
    *size = GROUP_FILTER_SIZE((size_t)count);
    filter = (PGROUP_FILTER)gqos_new_filter(*size < sizeof(GROUP_FILTER) ? sizeof(GROUP_FILTER) : *size);
    if (filter) {
        filter->gf_interface = interface_index;
        memcpy(&filter->gf_group, group, (size_t)length);
        filter->gf_numsrc = count;
    }
    return filter;
}

static __inline int setsourcefilter(SOCKET s, ULONG interface_index, const SOCKADDR *group, int group_length,
                                    MULTICAST_MODE_TYPE mode, ULONG count, const SOCKADDR_STORAGE *sources) {
    size_t size = 0;
    PGROUP_FILTER filter = gqos_new_group_filter(interface_index, group, group_length, count, &size);
    int result;
    if (!filter)
        return SOCKET_ERROR;
    filter->gf_fmode = mode;
    if (count)
        memcpy(filter->gf_slist, sources, count * sizeof *sources);
    result = gqos_filter_ioctl(s, SIOCSMSFILTER, filter, size, NULL, 0);
    free(filter);
    return result;
}

static __inline int getsourcefilter(SOCKET s, ULONG interface_index, const SOCKADDR *group, int group_length,
                                    MULTICAST_MODE_TYPE *mode, ULONG *count, SOCKADDR_STORAGE *sources) {
    size_t size = 0;
    PGROUP_FILTER filter = gqos_new_group_filter(interface_index, group, group_length, *count, &size);
    int result;
    if (!filter)
        return SOCKET_ERROR;
    result = gqos_filter_ioctl(s, SIOCGMSFILTER, filter, size, filter, size);
    if (result == 0) {
        ULONG held = filter->gf_numsrc < *count ? filter->gf_numsrc : *count;
        if (held)
            memcpy(sources, filter->gf_slist, held * sizeof *sources);
        *mode = filter->gf_fmode;
        *count = filter->gf_numsrc;
    }
    free(filter);
    return result;
}

static __inline int idealsendbacklogquery(SOCKET s, ULONG *backlog) {
    return gqos_filter_ioctl(s, SIO_IDEAL_SEND_BACKLOG_QUERY, NULL, 0, backlog, sizeof *backlog);
}
static __inline int idealsendbacklognotify(SOCKET s, LPWSAOVERLAPPED overlapped,
                                           LPWSAOVERLAPPED_COMPLETION_ROUTINE routine) {
    DWORD returned = 0;
    return WSAIoctl(s, SIO_IDEAL_SEND_BACKLOG_CHANGE, NULL, 0, NULL, 0, &returned, overlapped, routine);
}

#endif
