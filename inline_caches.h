/* Inline caches for compiled modules, included after mypyc's runtime (hatch_build.py): what CPython's own interpreter does since
 * 3.11 for attributes, methods and globals, and compiled code does not.
 *
 * Compiled code reads an attribute of an object that is no class of compiled modules, such as a msgspec Struct, and calls a
 * method of it, by looking the name up in the type each time. Here each such place in the code remembers what its last look-up
 * found, with the version of the type. CPython gives a type a new version, which no other type ever has, whenever the type or
 * one of its bases changes, so that a remembered result is valid exactly while the version is the same. Globals are remembered
 * with the version of their module's dict, where Python has such versions (3.11).
 *
 * Only what the type alone decides is remembered: members and getters, which take precedence over an object's own dict; and
 * methods and values of types whose objects have no dict. All else is looked up as before.
 */
#if defined(__GNUC__) && !defined(Py_GIL_DISABLED) && !defined(CPY_INLINE_CACHES)
#define CPY_INLINE_CACHES

typedef struct {
    unsigned int version; /* of the type; 0: nothing is remembered */
    Py_ssize_t offset;    /* of the member in the object */
    PyObject *name;       /* owned, so that no other name gets its address */
    PyObject *found;      /* borrowed from the type: a method, a getter, or a value; NULL: a member */
    bool is_value;        /* whether it is a value, the same for all objects */
} CPyTypeCache;

static inline bool CPyCache_Holds(const CPyTypeCache *cache, PyTypeObject *type, PyObject *name) {
    return cache->version != 0 && cache->version == type->tp_version_tag && cache->name == name;
}

static void CPyCache_Remember(CPyTypeCache *cache, PyTypeObject *type, PyObject *name, PyObject *found, Py_ssize_t offset) {
    cache->is_value = found != NULL && Py_TYPE(found)->tp_descr_get == NULL;
    Py_INCREF(name);
    Py_XSETREF(cache->name, name);
    cache->version = type->tp_version_tag;
    cache->found = found;
    cache->offset = offset;
}

/* What the type has under this name, if a change of the type gives it another version. */
static PyObject *CPyCache_LookUp(PyTypeObject *type, PyObject *name) {
    if (type->tp_getattro != PyObject_GenericGetAttr || !PyUnicode_CheckExact(name)) {
        return NULL;
    }
    PyObject *found = _PyType_Lookup(type, name); /* gives the type a version, if it had none */
    return PyType_HasFeature(type, Py_TPFLAGS_VALID_VERSION_TAG) ? found : NULL;
}

static CPy_NOINLINE PyObject *CPyCache_LookUpAttr(PyObject *obj, PyObject *name, CPyTypeCache *cache) {
    PyTypeObject *type = Py_TYPE(obj);
    PyObject *found = CPyCache_LookUp(type, name);
    if (found != NULL && Py_IS_TYPE(found, &PyMemberDescr_Type)) {
        PyMemberDef *member = ((PyMemberDescrObject *)found)->d_member;
        if (member->type == T_OBJECT_EX && member->flags <= READONLY && PyType_IsSubtype(type, PyDescr_TYPE(found))) {
            CPyCache_Remember(cache, type, name, NULL, member->offset);
        }
    } else if (found != NULL && Py_IS_TYPE(found, &PyGetSetDescr_Type)) {
        if (((PyGetSetDescrObject *)found)->d_getset->get != NULL && PyType_IsSubtype(type, PyDescr_TYPE(found))) {
            CPyCache_Remember(cache, type, name, found, 0);
        }
    } else if (found != NULL && Py_TYPE(found)->tp_descr_get == NULL && type->tp_dictoffset == 0) {
        CPyCache_Remember(cache, type, name, found, 0);
    }
    return PyObject_GetAttr(obj, name);
}

static inline PyObject *CPyCache_GetAttr(PyObject *obj, PyObject *name, CPyTypeCache *cache) {
    if (likely(CPyCache_Holds(cache, Py_TYPE(obj), name))) {
        if (cache->is_value) {
            Py_INCREF(cache->found);
            return cache->found;
        }
        if (cache->found != NULL) {
            PyGetSetDef *getset = ((PyGetSetDescrObject *)cache->found)->d_getset;
            return getset->get(obj, getset->closure);
        }
        PyObject *value = *(PyObject **)((char *)obj + cache->offset);
        if (likely(value != NULL)) {
            Py_INCREF(value);
            return value;
        }
    }
    return CPyCache_LookUpAttr(obj, name, cache);
}

static CPy_NOINLINE PyObject *CPyCache_LookUpMethod(
    PyObject *name, PyObject *const *args, size_t nargsf, PyObject *kwnames, CPyTypeCache *cache
) {
    PyTypeObject *type = Py_TYPE(args[0]);
    if (type->tp_dictoffset == 0) { /* no object of it has a method of its own */
        PyObject *found = CPyCache_LookUp(type, name);
        if (found != NULL && PyType_HasFeature(Py_TYPE(found), Py_TPFLAGS_METHOD_DESCRIPTOR)) {
            CPyCache_Remember(cache, type, name, found, 0);
        }
    }
    return PyObject_VectorcallMethod(name, args, nargsf, kwnames);
}

static inline PyObject *CPyCache_CallMethod(
    PyObject *name, PyObject *const *args, size_t nargsf, PyObject *kwnames, CPyTypeCache *cache
) {
    if (likely(CPyCache_Holds(cache, Py_TYPE(args[0]), name))) {
        PyObject *method = cache->found;
        Py_INCREF(method);
        PyObject *result = PyObject_Vectorcall(method, args, PyVectorcall_NARGS(nargsf), kwnames);
        Py_DECREF(method);
        return result;
    }
    return CPyCache_LookUpMethod(name, args, nargsf, kwnames, cache);
}

#undef CPyObject_GetAttr
#define CPyObject_GetAttr(obj, name) ({ static CPyTypeCache _cache; CPyCache_GetAttr((obj), (name), &_cache); })
#define PyObject_VectorcallMethod(name, args, nargsf, kwnames) \
    ({ static CPyTypeCache _cache; CPyCache_CallMethod((name), (args), (nargsf), (kwnames), &_cache); })

#if PY_VERSION_HEX < 0x030C0000
typedef struct {
    uint64_t version; /* of the dict; 0: nothing is remembered */
    PyObject *name;   /* owned */
    PyObject *value;  /* borrowed from the dict */
    bool is_other;    /* whether this place reads other dicts than a module's */
} CPyGlobalCache;

static CPy_NOINLINE PyObject *CPyCache_LookUpItem(PyObject *dict, PyObject *key, CPyGlobalCache *cache) {
    PyObject *value = CPyDict_GetItem(dict, key);
    if (value == NULL || cache->is_other) {
        return value;
    }
    if (cache->name == NULL) {
        cache->is_other = !PyDict_CheckExact(dict) || !PyUnicode_CheckExact(key) || !PyDict_GetItemString(dict, "__spec__");
        if (cache->is_other) {
            return value;
        }
        Py_INCREF(key);
        cache->name = key;
    }
    if (cache->name == key) {
        cache->version = ((PyDictObject *)dict)->ma_version_tag;
        cache->value = value;
    }
    return value;
}

static inline PyObject *CPyCache_GetItem(PyObject *dict, PyObject *key, CPyGlobalCache *cache) {
    if (likely(cache->version != 0 && cache->name == key && PyDict_CheckExact(dict) &&
               cache->version == ((PyDictObject *)dict)->ma_version_tag)) {
        Py_INCREF(cache->value);
        return cache->value;
    }
    return CPyCache_LookUpItem(dict, key, cache);
}

#define CPyDict_GetItem(dict, key) ({ static CPyGlobalCache _cache; CPyCache_GetItem((dict), (key), &_cache); })
#endif
#endif
